"""Host checks: healthcheck and CPU pressure, for the gates of a session and for checks that run alone (G1, G2).

in: a run's context · out: records, and the reasons why the host does not pass; `run_check`, which a schedule or a
terminal calls, also writes them below ``evidence/checks/``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from hybrid_platform.domain.clocks import iso_utc
from hybrid_platform.domain.errors import ExitCode, PlatformError
from hybrid_platform.domain.records import CpuPressure, HealthcheckRecord, PressureGate, SystemState, Verdict
from hybrid_platform.evidence.files import check_evidence_name, write_json
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.host.flight_recorder import take_snapshot
from hybrid_platform.host.pressure import read_pressure, wait_for_pressure
from hybrid_platform.host.system import read_system_state
from hybrid_platform.log.events import LogEvent
from hybrid_platform.observability.recorder import check_health
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.queries import find_sessions
from hybrid_platform.storage.session_records import SessionInfo, SessionState


class CheckEvidence(msgspec.Struct, frozen=True):
    """Evidence of a host check that ran without a session."""

    kind: str
    run_id: str
    verdict: Verdict
    reasons: tuple[str, ...]
    exit_code: int
    at: str
    system: SystemState
    healthcheck: HealthcheckRecord
    pressure: PressureGate
    last_session: dict[str, Any] | None
    """The row of the last session; None for the kind ``preflight``."""

    @property
    def summary(self) -> dict[str, Any]:
        """The figures that Dagster plots."""
        return {
            "cpu_pressure": self.pressure.last.percent,
            "healthcheck": self.healthcheck.verdict.value,
            "pressure": self.pressure.verdict.value,
            "exit_code": self.exit_code,
        }


def run_check(context: RunContext, kind: str, stop: threading.Event | None = None) -> CheckEvidence:
    """Check the host as before (``preflight``) or after a session (``postflight``), and write the evidence.

    ``postflight`` also fails if the last session did not end COMPLETE.
    """
    after = kind == "postflight"
    at = context.clock.wall_ns()
    health, pressure = check_host(context, allow_missing_database=not after, stop=stop or threading.Event())
    failed = [(reason, int(code)) for reason, code in host_failures(health, pressure)]
    last = _last_session(context) if after else None
    if last is not None:
        failed += _last_session_failures(last)
    evidence = CheckEvidence(
        kind,
        context.run_id,
        Verdict.FAIL if failed else Verdict.PASS,
        tuple(reason for reason, _ in failed),
        failed[0][1] if failed else 0,
        iso_utc(at),
        read_system_state(context.clock, context.data_dir.root),
        health,
        pressure,
        None if last is None else msgspec.to_builtins(last),
    )
    write_json(context.data_dir, check_evidence_name(context.session_id, kind), evidence)
    return evidence


def _last_session_failures(last: SessionInfo) -> list[tuple[str, int]]:
    if last.state is SessionState.RUNNING and last.owner.is_gone:
        # A killed process cannot mark its own row; the next start does.
        reason = f"last session {last.session_id}: RUNNING, but its process {last.pid} is gone"
        return [(reason, int(ExitCode.CRASH))]
    if last.exit_code in {0, None}:
        return []
    return [(f"last session {last.session_id}: {last.state}, {last.exit_reason}", int(last.exit_code or 0))]


def _last_session(context: RunContext) -> SessionInfo | None:
    try:
        engine = open_engine(context.database_url, role="read")
        try:
            found = find_sessions(engine, limit=1)
            return found[0] if found else None
        finally:
            engine.dispose()
    except PlatformError as error:
        context.log.warning("the last session could not be read", error=str(error))
        return None


def check_host(
    context: RunContext, *, allow_missing_database: bool, stop: threading.Event
) -> tuple[HealthcheckRecord, PressureGate]:
    """Run the healthcheck and the pressure gate, log both, and append a flight recorder snapshot."""
    gates = context.settings.gates
    pressure = wait_for_pressure(
        gates.cpu_pressure_limit,
        gates.pressure_wait_seconds,
        lambda: read_pressure(context.clock),
        context.clock,
        stop,
        _log_waiting(context, gates.cpu_pressure_limit),
    )
    health = check_health(context, allow_missing_database=allow_missing_database)
    take_snapshot(context.data_dir, context.clock, pressure.last, health)
    context.log.info(
        LogEvent.HOST_CHECKED,
        healthcheck=health.verdict,
        cpu_pressure=pressure.last.percent,
        limit=pressure.limit,
        waited_s=round(pressure.waited_s, 1),
    )
    return health, pressure


def host_failures(health: HealthcheckRecord, pressure: PressureGate) -> list[tuple[str, ExitCode]]:
    """Return the reasons why the host does not pass, each with the exit code that follows from it."""
    failures = []
    if health.verdict.blocks:
        failures.append((f"healthcheck: {health.why}", ExitCode.CRASH))
    if pressure.verdict.blocks:
        failures.append((f"CPU pressure: {pressure.why}", ExitCode.OVERLOAD))
    return failures


def _log_waiting(context: RunContext, limit: float) -> Callable[[CpuPressure, float], None]:
    def log_waiting(reading: CpuPressure, left_s: float) -> None:
        context.log.info(
            "waiting for CPU pressure to fall", cpu_pressure=reading.percent, limit=limit, seconds_left=round(left_s)
        )

    return log_waiting
