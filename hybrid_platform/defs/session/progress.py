"""Progress of a running session in the UI: one observation every half minute, reported by the op's main thread.

Dagster's event log takes 100 to 250 events a second and blocks its caller, so nothing finer is written to it.
"""

from __future__ import annotations

import time

import dagster as dg

from hybrid_platform.defs.shared.names import SHADOW
from hybrid_platform.domain.log import Log
from hybrid_platform.session.runner import SessionRunner

OBSERVE_INTERVAL_S = 30.0


class ProgressReporter:
    """Reporter of one session's progress. Owned by the op's main thread."""

    def __init__(self, context: dg.OpExecutionContext, shadow: SessionRunner, log: Log) -> None:
        self._context = context
        self._log = log
        self._shadow = shadow
        self._next = time.monotonic() + OBSERVE_INTERVAL_S

    def report_if_due(self) -> None:
        """Log an observation if the interval has passed."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + OBSERVE_INTERVAL_S
        progress = self._shadow.progress()
        observation = dg.AssetObservation(
            asset_key=SHADOW,
            description=f"running for {progress.elapsed_s:.0f} s",
            metadata={name: round(value, 3) for name, value in progress._asdict().items()},
        )
        try:
            self._context.log_event(observation)
        except Exception as error:
            # A locked or lost storage of Dagster is not a reason to end a session.
            self._log.warning("progress not shown in Dagster", error=f"{type(error).__name__}: {error}")
