"""The settings of keeping: how long ticks, logs and Dagster's runs stay where they were written. Decides no trade."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hybrid_platform.settings.base import Section

Days = Annotated[int, Field(ge=0, le=36_500)]


class RetentionSettings(Section):
    """What ``hybrid-platform retain`` and the job ``retention`` clear away; see docs/retention.md. Unset: nothing."""

    ticks_days: Days | None = None
    """Ticks of sessions that ended so long ago move to ``archive/ticks`` in the data directory; null: never."""
    logs_days: Days | None = None
    """Logs, and evidence of checks that ran alone, last written so long ago are removed; null: never."""
    dagster_days: Annotated[Days, Field(ge=1)] | None = None
    """Runs of this platform that ended so long ago are removed from Dagster's own storage; null: never."""
    wait_seconds: Annotated[float, Field(ge=0, le=86_400)] = 3_900.0
    """How long to wait for a running session's end: only between sessions may somebody else write."""
