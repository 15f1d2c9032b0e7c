"""The healthcheck as a run's settings ask for it: before, after, and beside a session (G1)."""

from __future__ import annotations

from hybrid_platform.domain.records import HealthcheckRecord
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.host.healthcheck import run_healthcheck
from hybrid_platform.storage.probe import probe_database


def health_of(context: RunContext, *, allow_missing_database: bool = False) -> HealthcheckRecord:
    """Look at host and database and judge; ``allow_missing_database``: a database that is not there yet passes."""
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
