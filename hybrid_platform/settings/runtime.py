"""Settings of the running pipeline: channels, heartbeat, writer, overload control, watchdog (S6, S15, G4).

``channels`` and ``overload`` decide which ticks a strategy sees, so they are part of ``trading_sha256``. ``watchdog``
ends sessions but changes no decision, so it is not.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from hybrid_platform.settings.base import Section

Capacity = Annotated[int, Field(ge=1, le=10_000_000)]
Patience = Annotated[float, Field(ge=0, le=86_400)]


class OnFull(StrEnum):
    """Overflow policy of a bounded channel."""

    DROP_OLDEST = "DROP_OLDEST"
    BLOCK = "BLOCK"
    FAIL = "FAIL"


class ChannelSettings(Section):
    """Capacities of the channels in events; null follows the feed, see docs/contract.md."""

    tick: Capacity | None = None
    signal: Capacity | None = None
    persist: Capacity | None = None
    on_full: OnFull | None = None
    """One overflow policy for all three channels; null: each channel's own."""


class HeartbeatSettings(Section):
    """Heartbeats of the session (G4)."""

    interval_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """Time between two heartbeats."""

    late_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0
    """Delay from which a heartbeat counts as late."""


class StorageSettings(Section):
    """Commits of the writer."""

    batch_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 16_384
    """Commit when this many rows wait …"""
    flush_interval_ms: Annotated[int, Field(ge=1, le=60_000)] = 500
    """… or after this time, whichever comes first."""
    busy_timeout_ms: Annotated[int, Field(ge=5_000, le=600_000)] = 5_000


class OverloadSettings(Section):
    """When a live feed is sampled, 1→2→5→10, and when the session ends (S15); a replay is never sampled."""

    sample: bool = True
    """false: the load is measured and reported, but nothing is sampled."""
    pressure_limit: Annotated[float, Field(ge=0)] | None = None
    """Limit in percent of `some avg10`; 100 or more is off; null means 60, or off if the pressure gate is off."""
    queue_limit: Annotated[float, Field(gt=0)] = 80.0
    """Percent of the capacity of the tick or persist channel; a channel that drops counts as full; off above 100."""
    lag_limit_ms: Annotated[float, Field(gt=0)] | None = 1_000.0
    """Delay of ingest relative to the least lag observed; null: off."""
    recover_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A step down requires all values below this share of their limits."""
    step_up_seconds: Patience = 10.0
    """How long a value must stay at or above its limit before a step up …"""
    step_down_seconds: Patience = 20.0
    """… and how long all values must stay well below their limits before a step down."""
    stop_seconds: Patience | None = 60.0
    """Time at or above a limit, at the top of the ladder, that ends the session with OVERLOAD (13); null: never."""
    min_ticks_per_second: Annotated[float, Field(ge=0)] = 10.0
    """A slower feed is not sampled, because leaving out its ticks would free nothing."""


class WatchdogSettings(Section):
    """When a stage counts as stuck and a feed as silent, so that a session ends instead of hanging."""

    stuck_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = 120.0
    """A stage that works without progress for this long ends the session with CRASH; null: never."""
    feed_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """Time without data from a live feed that ends the session with NETWORK (10); null: see docs/overload.md."""
