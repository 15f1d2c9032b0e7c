"""A session that did not begin: what went wrong between its gates and its first stage, as its evidence (L4).

in: the error · out: ``session.json`` with state FAILED or REFUSED, every count 0, and the session's row
wherever the database can be opened. Where the lease was got it is still held, so that no other session
takes the row for one that crashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hybrid_platform.domain.errors import ExitCode, GateRefused, PlatformError
from hybrid_platform.domain.isolation import Control, Enforced, IsolationEvidence, LandlockStatus
from hybrid_platform.domain.records import Verdict
from hybrid_platform.evidence.records import (
    SESSION,
    ChannelFigures,
    HeartbeatFigures,
    LedgerFigures,
    PreflightEvidence,
    SessionEvidence,
    SignalFigures,
)
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.observability.session_view import ChannelStats
from hybrid_platform.session.factories import build_channels
from hybrid_platform.session.pipeline import format_trace
from hybrid_platform.session.stages.decision_sink import SignalsDigest
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.engine import open_engine, require_file
from hybrid_platform.storage.session_records import CrashedSession, SessionEnd, SessionState
from hybrid_platform.storage.sessions import SessionStore

COUNTERS = (
    "tick_count", "signal_count", "shadow_orders", "trade_count", "persist_count", "persist_errors", "risk_vetoes",
    "bp_drops_tick", "bp_drops_signal", "bp_drops_persist", "rejected", "duplicates",
)  # fmt: skip
"""What reports and checks read of a session's counters."""


def record_failed_start(
    context: RunContext,
    preflight: PreflightEvidence,
    started_ns: int,
    error: Exception,
    crashed: Sequence[CrashedSession],
) -> SessionEvidence:
    """Leave the row and the evidence of a session that ``error`` kept from beginning; return the evidence.

    Raises StorageError only where not even the evidence can be written.
    """
    is_ours = isinstance(error, PlatformError)
    code = error.exit_code if isinstance(error, PlatformError) else ExitCode.CRASH
    reason = str(error) if is_ours else f"{type(error).__name__}: {error}"
    state = SessionState.REFUSED if isinstance(error, GateRefused) else SessionState.FAILED
    exit_reason = reason if state is SessionState.REFUSED else type(error).__name__
    context.log.error(
        "the session did not begin", state=state, exit_code=int(code), reason=reason, **format_trace(error)
    )
    _leave_row(context, SessionEnd(state, code, exit_reason, context.clock.wall_ns(), is_clean=False))
    evidence = _evidence(
        context, preflight, started_ns, (state, code, exit_reason, reason), crashed, type(error).__name__
    )
    context.write(evidence)
    return evidence


def describe_feed(settings: SessionSettings) -> dict[str, Any]:
    """Return the feed as the settings state it."""
    kind = settings.feed.kind
    return {kind: getattr(settings.feed, kind).model_dump(mode="json", exclude_none=True)}


def build_channel_figures(stats: ChannelStats) -> ChannelFigures:
    """Return a channel's statistics as evidence."""
    figures = stats._asdict()
    # The evidence keeps the ledger's words.
    left, high_water = figures.pop("depth"), figures.pop("max_depth")
    return ChannelFigures(**figures, left=left, high_water=high_water)


def _leave_row(context: RunContext, end: SessionEnd) -> None:
    try:
        require_file(context.database_url)
        engine = open_engine(context.database_url, role="write")
        try:
            SessionStore(engine).record_failed_start(context.session_start(), end)
        finally:
            engine.dispose()
    except (PlatformError, OSError) as error:
        context.log.warning("the session's row could not be written to the database", error=str(error))


def _evidence(
    context: RunContext,
    preflight: PreflightEvidence,
    started_ns: int,
    end: tuple[SessionState, ExitCode, str, str],
    crashed: Sequence[CrashedSession],
    error: str,
) -> SessionEvidence:
    state, code, exit_reason, reason = end
    settings, digest = context.settings, SignalsDigest()
    channels = tuple(build_channel_figures(stats) for stats in build_channels(settings).stats())
    why = ("the session did not begin",)
    return SessionEvidence(
        **context.evidence_header(SESSION, started_ns),
        verdict=Verdict.FAIL,
        reasons=(reason,),
        exit_code=int(code),
        began=False,
        error=error,
        mode=settings.mode.value,
        strategy=settings.strategy.model_dump(mode="json"),
        feed=describe_feed(settings),
        inputs=preflight.inputs,
        state=state.value,
        exit_reason=exit_reason,
        failure=reason,
        clean=False,
        isolation=IsolationEvidence(
            requested=settings.isolation,
            enforced=Enforced.NONE,
            why=why,
            machine=None,
            filter_sha256=None,
            kernel_counts=False,
            control=Control(network=False, file=False, detail=why[0]),
            landlock=LandlockStatus(abi=0),
            start=None,
            end=None,
            selftest_start=None,
            selftest_end=None,
            ending="not started",
        ),
        counters=dict.fromkeys(COUNTERS, 0),
        channels=channels,
        ledger=LedgerFigures((), balances=True, faults=()),
        heartbeats=HeartbeatFigures(0, 0, 0, 0, settings.heartbeat.interval_seconds),
        signals=SignalFigures(digest.count, digest.buy, digest.count - digest.buy, digest.sha256),
        crashed=tuple(session.session_id for session in crashed),
        vetoes={},
        rejected={},
        pragmas={},
        pipeline_s=0.0,
        ticks_per_second=0.0,
        rows_per_second=0.0,
        lag_ms={},
        latency_us={},
        first_event=None,
        last_event=None,
    )
