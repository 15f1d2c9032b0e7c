"""The end of a session that failed to start, between its gates and its first stage (L4).

in: the error · out: ``session.json`` with state FAILED or REFUSED and every count 0, and the session's row if
the database can be opened. If the lease was acquired it is still held, so that no other session takes the row
for one that crashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hybrid_platform.domain.errors import ExitCode, GateRefused, PlatformError
from hybrid_platform.domain.isolation import Enforced, IsolationEvidence, LandlockStatus, PositiveControl
from hybrid_platform.domain.records import Verdict
from hybrid_platform.evidence.records import HeartbeatFigures, SessionEvidence
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.session.evidence import RunHeader, build_channel_figures, build_evidence
from hybrid_platform.session.factories import build_channels
from hybrid_platform.session.outcome import format_error, format_trace
from hybrid_platform.storage.engine import open_engine, require_file
from hybrid_platform.storage.session_records import CrashedSession, SessionEnd, SessionState
from hybrid_platform.storage.sessions import SessionStore

COUNTERS = (
    "tick_count", "signal_count", "shadow_orders", "trade_count", "persist_count", "persist_errors", "risk_vetoes",
    "bp_drops_tick", "bp_drops_signal", "bp_drops_persist", "rejected", "duplicates",
)  # fmt: skip
"""The counters of a session that reports and checks read."""


def record_failed_start(header: RunHeader, error: Exception, crashed: Sequence[CrashedSession]) -> SessionEvidence:
    """Write the row and the evidence of a session that ``error`` kept from starting; return the evidence.

    Raises StorageError only if not even the evidence can be written.
    """
    context, settings = header.context, header.context.settings
    code = error.exit_code if isinstance(error, PlatformError) else ExitCode.CRASH
    reason = format_error(error)
    state = SessionState.REFUSED if isinstance(error, GateRefused) else SessionState.FAILED
    exit_reason = reason if state is SessionState.REFUSED else type(error).__name__
    context.log.error("session failed to start", state=state, exit_code=int(code), reason=reason, **format_trace(error))
    _write_row(context, SessionEnd(state, code, exit_reason, context.clock.wall_ns(), is_clean=False))
    evidence = build_evidence(
        header,
        verdict=Verdict.FAIL,
        reasons=(reason,),
        exit_code=int(code),
        began=False,
        error=type(error).__name__,
        state=state.value,
        exit_reason=exit_reason,
        failure=reason,
        clean=False,
        isolation=_isolation_without_process(settings.isolation),
        counters=dict.fromkeys(COUNTERS, 0),
        channels=tuple(build_channel_figures(stats) for stats in build_channels(settings).stats()),
        heartbeats=HeartbeatFigures(interval_s=settings.heartbeat.interval_seconds),
        crashed=tuple(session.session_id for session in crashed),
    )
    context.write(evidence)
    return evidence


def _write_row(context: RunContext, end: SessionEnd) -> None:
    try:
        require_file(context.database_url)
        engine = open_engine(context.database_url, role="write")
        try:
            SessionStore(engine).record_failed_start(context.session_start(), end)
        finally:
            engine.dispose()
    except (PlatformError, OSError) as error:
        context.log.warning("the session's row could not be written to the database", error=str(error))


def _isolation_without_process(requested: Literal["process", "thread"]) -> IsolationEvidence:
    why = "the session did not begin"
    return IsolationEvidence(
        requested=requested,
        enforced=Enforced.NONE,
        why=(why,),
        machine=None,
        filter_sha256=None,
        kernel_counts=False,
        control=PositiveControl(network=False, file=False, detail=why),
        landlock=LandlockStatus(abi=0),
        start=None,
        end=None,
        selftest_start=None,
        selftest_end=None,
        ending="not started",
    )
