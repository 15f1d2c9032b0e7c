"""The end of a gate: its evidence, and a ``sessions`` row with state REFUSED when it did not pass.

in: a gate's evidence, or a refusal to begin a step · out: the evidence file, log lines, and the row, if the database
can be opened.
"""

from __future__ import annotations

from hybrid_platform.domain.errors import ExitCode, GateRefused, PlatformError
from hybrid_platform.domain.records import Verdict
from hybrid_platform.evidence.records import REFUSAL, Evidence, EvidenceT
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.log.events import GATE_PASSED
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.migrate import migrate
from hybrid_platform.storage.sessions import SessionStore


def refuse(context: RunContext, refused: GateRefused) -> None:
    """Write the evidence and the REFUSED row of a step that could not begin."""
    header = context.evidence_header(REFUSAL, context.clock.wall_ns())
    conclude(
        context,
        Evidence(**header, verdict=Verdict.FAIL, reasons=(str(refused),), exit_code=int(refused.exit_code)),
    )


def conclude(context: RunContext, evidence: EvidenceT) -> EvidenceT:
    """Write a gate's evidence; if it did not pass, log the reasons and write a REFUSED row."""
    context.write(evidence)
    if evidence.verdict is Verdict.PASS:
        context.log.info(GATE_PASSED[evidence.kind])
        return evidence
    for reason in evidence.reasons:
        context.log.error(f"{evidence.kind} FAIL", reason=reason, exit_code=evidence.exit_code)
    _write_refused_row(context, evidence)
    return evidence


def _write_refused_row(context: RunContext, evidence: Evidence) -> None:
    try:
        engine = open_engine(context.database_url, role="write")
        try:
            migrate(engine)
            SessionStore(engine).refuse(context.session_start(), ExitCode(evidence.exit_code), evidence.reasons[0])
        finally:
            engine.dispose()
    except PlatformError as error:
        context.log.warning("the refusal could not be written to the database", error=str(error))
