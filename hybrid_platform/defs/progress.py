"""Show a running session in the UI: one observation each half minute, from the main thread.

Dagster's event log takes 100 to 250 events a second and blocks its caller, so nothing finer goes there.
"""

from __future__ import annotations

import time

import dagster as dg

from hybrid_platform.domain.log import Log
from hybrid_platform.session.runner import ShadowRun

OBSERVE_SECONDS = 30.0


class ProgressReporter:
    """Owned by the op's main thread."""

    def __init__(self, context: dg.OpExecutionContext, shadow: ShadowRun, log: Log) -> None:
        self._context = context
        self._log = log
        self._shadow = shadow
        self._next = time.monotonic() + OBSERVE_SECONDS

    def look(self) -> None:
        """Report if it is time to."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + OBSERVE_SECONDS
        progress = self._shadow.progress()
        observation = dg.AssetObservation(
            asset_key="shadow_run",
            description=f"running for {progress.elapsed_s:.0f} s",
            metadata={name: round(value, 3) for name, value in progress._asdict().items()},
        )
        try:
            self._context.log_event(observation)
        except Exception as error:
            # Dagster's own storage may be locked or gone: that is no reason to end a session.
            self._log.warning("progress could not be shown in Dagster", error=f"{type(error).__name__}: {error}")
