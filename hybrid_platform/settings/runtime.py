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
    """What a bounded channel does with an event that finds it full."""

    DROP_OLDEST = "DROP_OLDEST"
    BLOCK = "BLOCK"
    FAIL = "FAIL"


class ChannelSettings(Section):
    """Capacities in events; null follows the feed (SPEC 4)."""

    tick: Capacity | None = None
    signal: Capacity | None = None
    persist: Capacity | None = None
    on_full: OnFull | None = None
    """One policy for all three channels instead of each one's own."""


class HeartbeatSettings(Section):
    """Signs of life (G4)."""

    interval_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    late_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0


class StorageSettings(Section):
    """How the writer commits."""

    batch_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 16_384
    """Commit when so many rows wait …"""
    flush_interval_ms: Annotated[int, Field(ge=1, le=60_000)] = 500
    """… or after so long, whichever comes first."""
    busy_timeout_ms: Annotated[int, Field(ge=5_000, le=600_000)] = 5_000


class OverloadSettings(Section):
    """When a live feed is sampled, 1→2→5→10, and when the session gives up (S15); a replay never is."""

    sample: bool = True
    """false: the load is watched and reported, and nothing is done about it."""
    pressure_limit: Annotated[float, Field(ge=0)] | None = None
    """Percent of `some avg10`, from 100 on: off; null: 60, or off where ``gates.cpu_pressure_limit`` is off."""
    queue_limit: Annotated[float, Field(gt=0)] = 80.0
    """Percent of the tick or persist channel's capacity; a channel that drops counts as full. Over 100: off."""
    lag_limit_ms: Annotated[float, Field(gt=0)] | None = 1_000.0
    """How far ingest may fall behind the least lag seen; null: off."""
    recover_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A step down needs everything below this share of its limit."""
    step_up_seconds: Patience = 10.0
    """How long something must stay at or above its limit before a step up …"""
    step_down_seconds: Patience = 20.0
    """… and everything well below it before a step down."""
    stop_seconds: Patience | None = 60.0
    """So long at or above a limit at the top of the ladder ends the session with OVERLOAD (13); null: never."""
    min_ticks_per_second: Annotated[float, Field(ge=0)] = 10.0
    """A slower feed is not sampled: leaving out its ticks would free nothing."""


class WatchdogSettings(Section):
    """When a stage counts as stuck and a feed as silent, so that a session ends instead of hanging."""

    stuck_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = 120.0
    """A stage that is at work and does not move for so long ends the session as a CRASH; null: never."""
    feed_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """So long without data from a live feed: NETWORK (10); null: long after its own tries (S4) and pace give up."""
