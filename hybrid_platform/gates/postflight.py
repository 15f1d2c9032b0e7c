"""Postflight: the host again, the database recounted, all evidence judged (G1, G2, G5).

It runs whatever became of the session that preflight let begin, also where that left nothing.
"""

from __future__ import annotations

import threading

from hybrid_platform.domain.contract import HOST_GATE_IDS, SUMMARY_ID
from hybrid_platform.domain.errors import ExitCode, PlatformError
from hybrid_platform.domain.records import Verdict
from hybrid_platform.evidence.records import (
    POSTFLIGHT,
    PRAGMA,
    PREFLIGHT,
    SESSION,
    PostflightEvidence,
    PragmaGateEvidence,
    PreflightEvidence,
    ProofVerdict,
    SessionEvidence,
)
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.gates.preflight import host_checks, host_reasons
from hybrid_platform.gates.session_checks import session_proofs
from hybrid_platform.gates.trading_audit import TradingAudit, audit_trading
from hybrid_platform.host.process import trim_heap
from hybrid_platform.host.system import read_system_state
from hybrid_platform.log.events import LogEvent
from hybrid_platform.log.reading import read_key_lines
from hybrid_platform.maintenance.reserve import release_to_judge
from hybrid_platform.storage.audit import Audit, audit_session
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.probe import probe_database


def postflight(context: RunContext, stop: threading.Event | None = None) -> PostflightEvidence:
    """Judge a run from what it left; return PASS only where every gate and every figure holds.

    Raises GateRefused where the preflight of this same run did not pass: there is nothing to judge.
    """
    started = context.clock.wall_ns()
    before = context.require_passed(PREFLIGHT, PreflightEvidence)
    pragma = context.read(PRAGMA, PragmaGateEvidence)
    session = context.read(SESSION, SessionEvidence)
    if session is None or session.began:  # else what is held back is the running session's, which refused this one
        release_to_judge(context.data_dir)
    health, pressure = host_checks(context, allow_missing_database=False, stop=stop or threading.Event())
    failed = host_reasons(health, pressure)
    audit = Audit({}, {}, 0)
    trading: TradingAudit | None = None
    try:
        engine = open_engine(context.database_url, role="read", keep=True)
        try:
            audit = audit_session(engine, context.session_id)
            if session is not None:
                trading = audit_trading(engine, context.session_id, context.settings)
        finally:
            engine.dispose()
        trim_heap()
    except PlatformError as error:
        failed.append((f"database: {error}", ExitCode.CRASH))
    proofs = session_proofs(
        before,
        pragma,
        session,
        health=health,
        pressure=pressure,
        audit=audit,
        trading=trading,
        risk=context.settings.risk,
    )
    for name, step in ((PRAGMA, pragma), (SESSION, session)):
        if step is None:
            failed.append(
                (
                    f"{name}: expected its evidence, got none: the session did not get there, or was killed",
                    ExitCode.CRASH,
                )
            )
        elif step.verdict is not Verdict.PASS:
            failed += [(f"{name}: {reason}", ExitCode(step.exit_code or 1)) for reason in step.reasons]
    failed += [
        (f"{proof.id}: expected {proof.expected}, got {proof.actual}", ExitCode.CRASH)
        for proof in proofs
        if proof.verdict is ProofVerdict.FAIL and proof.id not in {*HOST_GATE_IDS, SUMMARY_ID}
    ]
    evidence = PostflightEvidence(
        **context.evidence_header(POSTFLIGHT, started),
        verdict=Verdict.FAIL if failed else Verdict.PASS,
        reasons=tuple(dict.fromkeys(reason for reason, _ in failed)),
        exit_code=int(session.exit_code) if session and session.exit_code else int(failed[0][1]) if failed else 0,
        system=read_system_state(context.clock, context.data_dir.root),
        healthcheck=health,
        pressure=pressure,
        after=probe_database(context.database_url),
        counted=audit.counted,
        proofs=proofs,
        log_lines=read_key_lines(context.data_dir, context.session_id),
    )
    context.write(evidence)
    if evidence.verdict is Verdict.PASS:
        context.log.info(LogEvent.POSTFLIGHT_PASSED, reasons=evidence.reasons, proofs=_tally(evidence))
    else:
        context.log.error("postflight FAIL", reasons=evidence.reasons, proofs=_tally(evidence))
    return evidence


def _tally(evidence: PostflightEvidence) -> dict[str, int]:
    verdicts = [proof.verdict.value for proof in evidence.proofs]
    return {verdict: verdicts.count(verdict) for verdict in ("PASS", "FAIL", "NOT_RUN")}
