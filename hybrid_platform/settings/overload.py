"""The settings of load: when a live feed is sampled (S15), and when a stage counts as stuck.

``overload`` decides which ticks a strategy sees, as ``channels`` does, so it is part of ``trading_sha256``.
``watchdog`` only ends sessions and changes no decision, so it is not.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hybrid_platform.settings.base import Section

Patience = Annotated[float, Field(ge=0, le=86_400)]


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
