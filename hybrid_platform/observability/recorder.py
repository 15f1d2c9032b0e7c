"""Flight recorder snapshots while a session runs: beside the supervisor, whose heartbeats must not wait for a disk."""

from __future__ import annotations

import threading

from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.host.flight_recorder import take_snapshot
from hybrid_platform.host.pressure import read_pressure
from hybrid_platform.log.events import LogEvent
from hybrid_platform.observability.health import health_of


class IntervalRecorder:
    """Takes a snapshot each time it is called, unless the last one is still being taken."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._thread: threading.Thread | None = None

    def __call__(self) -> None:
        """Begin a snapshot and return at once."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._take, name="flight-recorder", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait for the last snapshot, for as long as a healthcheck may take."""
        if self._thread is not None:
            self._thread.join()

    def _take(self) -> None:
        context = self._context
        health = health_of(context)
        pressure = read_pressure(context.clock)
        try:
            take_snapshot(context.data_dir, context.clock, pressure, health)
            context.log.info(LogEvent.HOST_SNAPSHOT, cpu_pressure=pressure.percent, healthcheck=health.verdict)
            context.chain.flush()
        except PlatformError as error:
            context.log.warning("flight recorder snapshot failed", error=str(error))
