"""Postflight: the host again, the rows recounted, and a verdict on all evidence of a run (G1, G2, G5).

in: a run's context and its earlier evidence · out: `PostflightEvidence`. It runs however the session ended, also when
the session left no evidence.
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
from hybrid_platform.gates.host_checks import check_host, host_failures
from hybrid_platform.gates.session_checks import session_proofs
from hybrid_platform.gates.trading_audit import TradingAudit, audit_trading
from hybrid_platform.host.process import trim_heap
from hybrid_platform.host.system import read_system_state
from hybrid_platform.log.events import LogEvent
from hybrid_platform.log.reading import read_key_lines
from hybrid_platform.maintenance.reserve import release_postflight_reserve
from hybrid_platform.storage.audit import Audit, audit_session
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.probe import probe_database


def postflight(context: RunContext, stop: threading.Event | None = None) -> PostflightEvidence:
    """Judge a run; return PASS only if every gate and every figure holds.

    Raises GateRefused if the preflight of this same run did not pass, because then no session ran.
    """
    started = context.clock.wall_ns()
    before = context.require_passed(PREFLIGHT, PreflightEvidence)
    pragma = context.read(PRAGMA, PragmaGateEvidence)
    session = context.read(SESSION, SessionEvidence)
    # If another session was running and refused this one, the held-back resources belong to that session.
    if session is None or session.began:
        release_postflight_reserve(context.data_dir)
    health, pressure = check_host(context, allow_missing_database=False, stop=stop or threading.Event())
    failed = host_failures(health, pressure)
    audit = Audit({}, {}, 0)
    trading: TradingAudit | None = None
    try:
        engine = open_engine(context.database_url, role="read", single_connection=True)
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
    for kind, record in ((PRAGMA, pragma), (SESSION, session)):
        if record is None:
            failed.append(
                (
                    f"{kind}: expected its evidence, got none; the run did not reach this step, or was killed",
                    ExitCode.CRASH,
                )
            )
        elif record.verdict is not Verdict.PASS:
            failed += [(f"{kind}: {reason}", ExitCode(record.exit_code or 1)) for reason in record.reasons]
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
        context.log.info(LogEvent.POSTFLIGHT_PASSED, reasons=evidence.reasons, proofs=_count_verdicts(evidence))
    else:
        context.log.error("postflight FAIL", reasons=evidence.reasons, proofs=_count_verdicts(evidence))
    return evidence


def _count_verdicts(evidence: PostflightEvidence) -> dict[str, int]:
    verdicts = [proof.verdict.value for proof in evidence.proofs]
    return {verdict: verdicts.count(verdict) for verdict in ("PASS", "FAIL", "NOT_RUN")}
