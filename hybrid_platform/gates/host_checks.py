"""The checks that also run alone, from a schedule or a terminal; their evidence goes to ``evidence/checks/``."""

from __future__ import annotations

import threading
from typing import Any

import msgspec

from hybrid_platform.domain.clocks import iso_utc
from hybrid_platform.domain.errors import ExitCode, PlatformError
from hybrid_platform.domain.records import HealthcheckRecord, PressureGate, SystemState, Verdict
from hybrid_platform.evidence.files import check_evidence_name, write_json
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.gates.preflight import host_checks, host_reasons
from hybrid_platform.host.system import read_system_state
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.queries import find_sessions
from hybrid_platform.storage.session_records import SessionInfo, SessionState


class CheckEvidence(msgspec.Struct, frozen=True):
    """A check that ran alone."""

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
    """The last session's row; only postflight looks."""

    @property
    def summary(self) -> dict[str, Any]:
        """Return the figures worth plotting."""
        return {
            "cpu_pressure": self.pressure.last.percent,
            "healthcheck": self.healthcheck.verdict.value,
            "pressure": self.pressure.verdict.value,
            "exit_code": self.exit_code,
        }


def run_check(context: RunContext, kind: str, stop: threading.Event | None = None) -> CheckEvidence:
    """Check the host as before (``preflight``) or after a session (``postflight``), and write what was seen.

    ``postflight`` also fails where the last session did not end COMPLETE.
    """
    after = kind == "postflight"
    at = context.clock.wall_ns()
    health, pressure = host_checks(context, allow_missing_database=not after, stop=stop or threading.Event())
    failed = [(reason, int(code)) for reason, code in host_reasons(health, pressure)]
    last = _last_session(context) if after else None
    if last is not None:
        failed += _faults_of(last)
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


def _faults_of(last: SessionInfo) -> list[tuple[str, int]]:
    if last.state is SessionState.RUNNING and last.owner.is_gone:
        # Killed, it could not say so; the next start marks it.
        told = f"last session {last.session_id}: RUNNING, and its process {last.pid} is gone"
        return [(told, int(ExitCode.CRASH))]
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
