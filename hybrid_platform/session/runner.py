"""The shadow run: one session on its database, from the lease to the evidence (S1, S13, L4).

in: a context whose gates passed · out: rows, ledger and ``session.json``. The caller only waits and
may ask for a stop; an operational failure is a verdict in the evidence, never an exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S, iso_utc
from hybrid_platform.domain.errors import ExitCode, PlatformError
from hybrid_platform.domain.records import Verdict
from hybrid_platform.domain.statistics import quantile
from hybrid_platform.evidence.code_digest import strategy_sha256
from hybrid_platform.evidence.records import (
    PRAGMA,
    PREFLIGHT,
    SESSION,
    HeartbeatFigures,
    LedgerFigures,
    LedgerLine,
    PragmaGateEvidence,
    PreflightEvidence,
    SessionEvidence,
    SessionGap,
    SignalFigures,
)
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.feeds.base import Sourced
from hybrid_platform.gates.preflight import open_gate
from hybrid_platform.host.process import trim_heap
from hybrid_platform.log.events import LogEvent
from hybrid_platform.maintenance.lease import LeaseHeld, acquire_session_lease, lease_path
from hybrid_platform.maintenance.lost_rows import find_lost_rows
from hybrid_platform.maintenance.reserve import hold_reserve
from hybrid_platform.observability.liveness import Pulse
from hybrid_platform.observability.metrics_endpoint import Watching
from hybrid_platform.observability.recorder import IntervalRecorder
from hybrid_platform.session.commands import CommandFile, CommandWatcher
from hybrid_platform.session.failed_start import build_channel_figures, describe_feed, record_failed_start
from hybrid_platform.session.feeds import build_session_feed, new_instrument_table
from hybrid_platform.session.ledger import Ledger, LedgerRow, build_ledger
from hybrid_platform.session.pipeline import Pipeline, Progress
from hybrid_platform.session.previous_session import PreviousSession
from hybrid_platform.session.strategy_host.process import StrategyProcess, private_paths
from hybrid_platform.settings.session import Mode
from hybrid_platform.storage.engine import open_engine, require_file
from hybrid_platform.storage.queries import count_rows
from hybrid_platform.storage.session_records import CrashedSession, SessionEnd, SessionInfo, SessionState
from hybrid_platform.storage.sessions import SessionStore
from hybrid_platform.storage.writer import SessionWriter
from hybrid_platform.strategies.base import Strategy
from hybrid_platform.strategies.loader import build_strategy

CLOSE_OUT_TIMEOUT_S = 10.0


class SessionRunner:
    """A running session. One caller: construct (it starts), wait or stop, finish."""

    def __init__(self, context: RunContext) -> None:
        """Start the session.

        Raises GateRefused where a gate did not pass in this run. Whatever else keeps the session from beginning
        is its evidence: it has ended then, and `finish` returns why.
        """
        self._context = context
        self._preflight = context.require_passed(PREFLIGHT, PreflightEvidence)
        context.require_passed(PRAGMA, PragmaGateEvidence)
        self._started_ns = context.clock.wall_ns()
        self._crashed: tuple[CrashedSession, ...] = ()
        self._false_start: SessionEvidence | None = None
        self._parts = ExitStack()
        with ExitStack() as stack:
            try:
                self._begin(stack)
            except Exception as error:
                # Given back first: the host may have had nothing left for the evidence. The lease is kept until then.
                with suppress(PlatformError, OSError):
                    self._parts.close()
                self._false_start = record_failed_start(
                    context, self._preflight, self._started_ns, error, self._crashed
                )
            else:
                self._stack = stack.pop_all()

    def _begin(self, stack: ExitStack) -> None:
        """Make everything that the session needs, and start it; ``stack`` gives back what was made."""
        context, settings = self._context, self._context.settings
        path = lease_path(context.database_url)
        lease = stack.enter_context(acquire_session_lease(path, context.session_id, self._say_maintained))
        stack = stack.enter_context(self._parts)
        self._reserve = stack.enter_context(hold_reserve(context.data_dir))
        if lease.taken_from is not None:
            context.log.warning("the lease was left behind elsewhere, and did not beat", left=str(lease.taken_from))
        self._pulse = Pulse(context.data_dir, lease, context.session_id, context.run_id, context.clock, context.log)
        self._pulse.start()
        stack.callback(self._pulse.stop)
        require_file(context.database_url)
        self._engine: sa.Engine = open_engine(
            context.database_url, role="write", busy_timeout_ms=settings.storage.busy_timeout_ms
        )
        stack.callback(self._engine.dispose)
        self._store = SessionStore(self._engine)
        self._crashed = tuple(self._store.mark_crashed(partial(_require_over, path)))
        for crashed in self._crashed:
            context.log.warning("an earlier session had crashed", crashed=crashed.session_id, kept=crashed.kept)
        self._lost = find_lost_rows(context, self._engine, self._crashed)
        for loss in self._lost.explained:
            context.log.warning("rows that were reported as committed were left out by a restore", what=loss)
        for loss in self._lost.unexplained:
            context.log.error("rows that were reported as committed are missing (L4)", what=loss)
        self._before = PreviousSession(self._engine, settings.feed.kind, context.log) if settings.is_live_feed else None
        table = new_instrument_table(settings)
        feed = build_session_feed(
            settings,
            table,
            context.clock,
            context.log,
            context.database_url,
            store=context.data_dir,
            session_id=context.session_id,
            earlier=self._before.earlier if self._before else None,
        )
        feed.open()
        strategy = self._strategy(stack)
        # As late as may be: from here on the arming token is spent.
        release = open_gate(context, self._preflight.pressure) if settings.mode is Mode.LIVE else None
        self._feed = feed
        self._store.start(context.session_start())
        recorder = IntervalRecorder(context)
        stack.callback(recorder.close)
        self._writer = SessionWriter(self._engine, context.session_id, on_wait=self._say_locked)
        stack.callback(self._writer.close)
        self._session = Pipeline(
            settings,
            feed,
            strategy,
            table,
            self._writer,
            clock=context.clock,
            log=context.log,
            on_interval=recorder,
            commands=CommandWatcher(CommandFile(context.data_dir, context.clock), context.session_id),
            release=release,
        )
        self._metrics = Watching(context, self._session)
        stack.callback(self._metrics.close)
        self._session.start()
        self._pulse.watch(self._session.last_poll_ns, partial(self._session.fail, "lease"))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the session has drained; return whether it has."""
        return self._false_start is not None or self._session.wait(timeout)

    def request_stop(self, reason: str) -> None:
        """Ask for a drain."""
        if self._false_start is None:
            self._session.request_stop(reason)

    def progress(self) -> Progress:
        """Return where the session stands."""
        return self._session.progress()

    @property
    def session(self) -> Pipeline | None:
        """The running session, to look at; None where it did not begin."""
        return None if self._false_start is not None else self._session

    def _strategy(self, stack: ExitStack) -> Strategy[Any] | StrategyProcess:
        """Make the strategy, in this process or behind the guard."""
        settings = self._context.settings
        if settings.isolation == "thread":
            return build_strategy(settings.strategy)
        if settings.mode is Mode.LIVE:
            settings = settings.model_copy(update={"require_isolation": True})
        private = private_paths(settings, self._context.data_dir, self._context.database_url)
        guarded = StrategyProcess(settings, private, self._context.log)
        stack.callback(guarded.close)
        return guarded

    def _say_maintained(self, holder: str) -> None:
        self._context.log.warning("waiting for maintenance of the database to end", holder=holder)

    def _say_locked(self, waited_s: float) -> None:
        self._context.log.warning(
            "the database is locked by another process: waiting (S12)", waited_s=round(waited_s, 1)
        )

    def finish(self) -> SessionEvidence:
        """Close the drained session: ledger, session row, evidence; then give the lease back."""
        if self._false_start is not None:
            return self._false_start
        with self._stack:
            self._reserve.close()
            self._pulse.closing()
            self._session.finish()
            if self._session.is_writing:
                self._writer.abandon()
            patience_s = min(CLOSE_OUT_TIMEOUT_S, self._context.settings.drain_timeout_seconds)
            self._isolation = self._session.host.close_out(patience_s)
            try:
                counted = count_rows(self._engine, self._context.session_id)
            except PlatformError as error:
                self._context.log.error("rows could not be counted", error=str(error))
                counted = {}
            stats = self._session.channel_stats()
            ledger = build_ledger(
                self._feed.name,
                self._session.counters.feed,
                stats,
                self._writer.written,
                counted,
                self._session.sampler.sampled_out,
            )
            evidence = self._evidence(ledger)
            try:
                self._close_row(
                    SessionState(evidence.state),
                    ExitCode(evidence.exit_code),
                    evidence.exit_reason,
                    is_clean=evidence.clean,
                    ledger=ledger.rows,
                )
            except PlatformError as error:
                self._context.log.error("the session's end could not be written to the database", error=str(error))
                evidence = _failed(evidence, f"the session's end could not be written: {error}")
            self._context.write(evidence)
            trim_heap()
            self._context.log.info(
                LogEvent.SESSION_ENDED,
                state=evidence.state,
                exit_code=evidence.exit_code,
                exit_reason=evidence.exit_reason,
                clean=evidence.clean,
                ledger_balances=ledger.balances,
            )
            return evidence

    def _close_row(
        self, state: SessionState, exit_code: ExitCode, reason: str, *, is_clean: bool, ledger: Sequence[LedgerRow]
    ) -> None:
        end = SessionEnd(state, exit_code, reason, self._context.clock.wall_ns(), is_clean)
        self._store.finish(self._context.session_id, end, ledger)

    def _since_last(self) -> SessionGap | None:
        if self._before is None:
            return None
        try:
            return self._before.gap_to(self._context.session_id, self._started_ns, self._context.log)
        except PlatformError as error:
            self._context.log.warning("the gap since the last session could not be measured", error=str(error))
            return None

    def _sources(self) -> tuple[dict[str, Any], ...]:
        return (
            tuple(msgspec.to_builtins(source) for source in self._feed.stats())
            if isinstance(self._feed, Sourced)
            else ()
        )

    def _evidence(self, ledger: Ledger) -> SessionEvidence:
        context, session = self._context, self._session
        settings, counters, heartbeats = context.settings, session.counters, session.heartbeats
        failure = session.failure
        missing = heartbeats.missing(context.clock.monotonic_ns())
        reasons = [str(failure)] if failure else []
        reasons += [f"ledger: {fault}" for fault in ledger.faults]
        reasons += self._isolation.violations
        reasons += [f"lost before this session: {fault}" for fault in self._lost.unexplained]
        if session.venue is not None and (still := session.venue.figures().open_orders):
            reasons.append(f"LIVE: expected no order open at the venue at the end, got {', '.join(still)}")
        if heartbeats.late or missing:
            reasons.append(
                f"heartbeats: expected none late and none missing, got {heartbeats.late} late, {missing} missing (G4)"
            )
        broken = not ledger.balances or self._isolation.denied_attempts
        exit_code = failure.exit_code if failure else ExitCode.CRASH if broken else ExitCode.COMPLETE
        seconds = session.elapsed_ns / NS_PER_S
        rows = sum(self._writer.written.values())
        feed = counters.feed
        ticks, journal = session.written
        return SessionEvidence(
            **context.evidence_header(SESSION, self._started_ns),
            verdict=Verdict.FAIL if reasons else Verdict.PASS,
            reasons=tuple(reasons),
            exit_code=int(exit_code),
            mode=settings.mode.value,
            strategy=settings.strategy.model_dump(mode="json"),
            feed=describe_feed(settings),
            inputs=self._preflight.inputs,
            sources=self._sources(),
            state="COMPLETE" if exit_code is ExitCode.COMPLETE else "FAILED",
            exit_reason=session.exit_reason,
            failure=str(failure) if failure else None,
            clean=session.is_clean,
            isolation=self._isolation,
            counters=session.metrics(),
            channels=tuple(build_channel_figures(stats) for stats in session.channel_stats()),
            ledger=LedgerFigures(tuple(LedgerLine(*row) for row in ledger.rows), ledger.balances, ledger.faults),
            heartbeats=HeartbeatFigures(
                heartbeats.count,
                heartbeats.late,
                missing,
                heartbeats.longest_late_ms,
                settings.heartbeat.interval_seconds,
            ),
            signals=SignalFigures(
                session.digest.count,
                session.digest.buy,
                session.digest.count - session.digest.buy,
                session.digest.sha256,
            ),
            crashed=tuple(session.session_id for session in self._crashed),
            left_out=self._lost.explained,
            vetoes=dict(counters.decisions.veto_reasons),
            rejected=dict(feed.causes),
            pragmas=dict(self._writer.pragmas),
            pipeline_s=round(seconds, 6),
            ticks_per_second=round(feed.accepted / seconds, 1),
            rows_per_second=round(rows / seconds, 1),
            lag_ms=_quantiles([lag / NS_PER_MS for lag in feed.lag_ns]),
            latency_us=_quantiles([latency / 1000 for latency in counters.decisions.decision_ns]),
            first_event=None if feed.first_event is None else iso_utc(feed.first_event),
            last_event=None if feed.last_event is None else iso_utc(feed.last_event),
            strategy_sha256=strategy_sha256(settings.strategy.name),
            account=session.host.account(),
            ticks=ticks,
            journal=journal,
            live=session.venue.figures() if session.venue else None,
            since_last=self._since_last(),
            overload=session.load(),
            metrics=self._metrics.figures(),
        )


def _require_over(lease: Path, session: SessionInfo) -> bool:
    """Return that a session left RUNNING is over; raise LeaseHeld where its process lives and only lost the lease."""
    if session.owner.is_other_live_process:
        raise LeaseHeld(lease, f"session {session.session_id} (process {session.owner.pid} on this host)")
    return True


def _failed(evidence: SessionEvidence, reason: str) -> SessionEvidence:
    return msgspec.structs.replace(
        evidence,
        verdict=Verdict.FAIL,
        reasons=(*evidence.reasons, reason),
        state="FAILED",
        exit_code=evidence.exit_code or int(ExitCode.CRASH),
    )


def _quantiles(values: list[float]) -> dict[str, float]:
    """Return p50, p99 and max; empty where there is nothing to measure."""
    if not values:
        return {}
    ordered = sorted(values)
    return {name: round(quantile(ordered, share), 3) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}
