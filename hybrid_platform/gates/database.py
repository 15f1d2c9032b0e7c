"""The database gate: migrations, PRAGMAs, and a reader that is not blocked by a writer (G3, S1, I5).

in: a run's context · out: `PragmaGateEvidence`, PASS or FAIL with reasons and exit code.
"""

from __future__ import annotations

from typing import Any

from hybrid_platform.domain.errors import ExitCode, PlatformError
from hybrid_platform.domain.records import Verdict
from hybrid_platform.evidence.records import PRAGMA, PREFLIGHT, PragmaGateEvidence, PreflightEvidence
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.gates.conclusion import conclude
from hybrid_platform.log.events import LogEvent
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import redact_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform.storage.pragmas import verify_pragmas
from hybrid_platform.storage.probe import probe_database


def verify_database(context: RunContext) -> PragmaGateEvidence:
    """Judge the database: migrate it, apply and read back the PRAGMAs, and read while a writer writes.

    Raises GateRefused if preflight of this same run did not pass.
    """
    context.require_passed(PREFLIGHT, PreflightEvidence)
    started = context.clock.wall_ns()
    before = probe_database(context.database_url)
    busy_timeout_ms = context.settings.storage.busy_timeout_ms
    found: dict[str, Any] = {"pragmas": None, "migrations": ()}
    reasons: list[str] = []
    exit_code = ExitCode.COMPLETE
    try:
        engine = open_engine(context.database_url, role="write", busy_timeout_ms=busy_timeout_ms)
        try:
            found["migrations"] = tuple(migrate(engine))
        finally:
            engine.dispose()
        found["pragmas"] = evidence = verify_pragmas(context.database_url, busy_timeout_ms=busy_timeout_ms)
        writing = {reading.name: reading.got for reading in evidence.readings if reading.connection == "write"}
        context.log.info(LogEvent.PRAGMAS_READ_BACK, **writing)
        reasons += evidence.faults
        exit_code = ExitCode.CONFIG if reasons else exit_code
    except PlatformError as error:
        reasons.append(str(error))
        exit_code = error.exit_code
    if not reasons:
        context.log.info(LogEvent.PRAGMAS_VERIFIED)
    return conclude(
        context,
        PragmaGateEvidence(
            **context.evidence_header(PRAGMA, started),
            verdict=Verdict.FAIL if reasons else Verdict.PASS,
            reasons=tuple(reasons),
            exit_code=int(exit_code),
            database=redact_url(context.database_url),
            before=before,
            **found,
        ),
    )
