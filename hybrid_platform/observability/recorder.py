"""Healthcheck by a run's settings (G1), and flight recorder snapshots while a session runs.

Snapshots are taken by a thread of their own, because heartbeats of the supervisor must not wait for a disk.
"""

from __future__ import annotations

import threading

from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.domain.records import HealthcheckRecord
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.host.flight_recorder import take_snapshot
from hybrid_platform.host.healthcheck import run_healthcheck
from hybrid_platform.host.pressure import read_pressure
from hybrid_platform.log.events import LogEvent
from hybrid_platform.storage.probe import probe_database


def check_health(context: RunContext, *, allow_missing_database: bool = False) -> HealthcheckRecord:
    """Return the healthcheck of host and database; ``allow_missing_database``: a database may not exist yet."""
    gates = context.settings.gates
    return run_healthcheck(
        lambda: probe_database(context.database_url),
        context.data_dir.root,
        context.clock,
        dashboard_port=gates.dashboard_port,
        min_free_disk_mb=gates.min_free_disk_mb,
        require_clock_sync=gates.require_clock_sync,
        allow_missing_database=allow_missing_database,
    )


class IntervalRecorder:
    """Takes a snapshot at each call, unless the previous one is still in progress."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._thread: threading.Thread | None = None

    def __call__(self) -> None:
        """Start a snapshot and return immediately."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._take, name="flight-recorder", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait for the last snapshot, at most for the duration of a healthcheck."""
        if self._thread is not None:
            self._thread.join()

    def _take(self) -> None:
        context = self._context
        health = check_health(context)
        pressure = read_pressure(context.clock)
        try:
            take_snapshot(context.data_dir, context.clock, pressure, health)
            context.log.info(LogEvent.HOST_SNAPSHOT, cpu_pressure=pressure.percent, healthcheck=health.verdict)
            context.chain.flush()
        except PlatformError as error:
            context.log.warning("flight recorder snapshot failed", error=str(error))
