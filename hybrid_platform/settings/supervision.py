"""The settings of supervision: how a session that shall always run is started again, rolled and given up.

Nothing here decides a trade, and only the sensor `shadow_run_supervisor` reads it (docs/supervision.md).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hybrid_platform.settings.base import Section

Span = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


class SupervisionSettings(Section):
    """What the sensor `shadow_run_supervisor` does with the wanted session; a launch of your own ignores it."""

    max_session_seconds: Span = 3600.0
    """Where ``seconds`` is null, a live session ends after so long and the next begins, so that evidence appears."""
    backoff_seconds: Span = 10.0
    """Wait so long after a failure; twice as long after the next in a row …"""
    max_backoff_seconds: Span = 900.0
    """… up to so long."""
    healthy_seconds: Span = 600.0
    """A session that ran so long was well: the failure that ends it counts as the first again."""
    restart_budget: Annotated[int, Field(ge=1, le=10_000)] = 20
    """So many restarts after failures …"""
    budget_seconds: Span = 21_600.0
    """… within so long; then it waits until the oldest of them is as old as that."""
    preflight_max_age_seconds: Span = 1200.0
    """A preflight that passed is fresh for so long; without one the supervisor runs the job `preflight` first."""
    stale_seconds: Span = 60.0
    """A sign of life is old after so long; where the process cannot be looked at, the run is then given up."""
    start_timeout_seconds: Span = 300.0
    """How long a launched run may show no process, and a process no sign of life."""
