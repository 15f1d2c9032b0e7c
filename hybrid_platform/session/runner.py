"""The life of one session, from the lease to the evidence (S1, S13, L4).

in: the context of a run whose gates passed · out: rows, ledger and ``session.json``. The caller starts it,
waits, may request a stop, and finishes it. An operational failure becomes a verdict in the evidence instead
of an exception.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hybrid_platform.domain.errors import ExitCode, PlatformError
from hybrid_platform.domain.isolation import IsolationEvidence
from hybrid_platform.evidence.records import (
    PRAGMA,
    PREFLIGHT,
    PragmaGateEvidence,
    PreflightEvidence,
    SessionEvidence,
    SessionGap,
)
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.feeds.base import Feed
from hybrid_platform.host.process import trim_heap
from hybrid_platform.log.events import LogEvent
from hybrid_platform.maintenance.lease import Lease, LeaseHeld, acquire_session_lease, lease_path
from hybrid_platform.maintenance.lost_rows import LostRows, find_lost_rows
from hybrid_platform.maintenance.reserve import hold_reserve
from hybrid_platform.observability.liveness import LivenessWriter
from hybrid_platform.observability.metrics_endpoint import MetricsEndpoint
from hybrid_platform.observability.recorder import IntervalRecorder
from hybrid_platform.session.commands import CommandFile, CommandWatcher
from hybrid_platform.session.evidence import EndedSession, RunHeader, build_ended_evidence, fail_evidence
from hybrid_platform.session.failed_start import record_failed_start
from hybrid_platform.session.feeds import build_session_feed, new_instrument_table
from hybrid_platform.session.ledger import Ledger, build_ledger
from hybrid_platform.session.live_stage import LiveGate, LiveRelease
from hybrid_platform.session.outcome import Progress
from hybrid_platform.session.pipeline import Pipeline, PipelineInputs
from hybrid_platform.session.previous_session import PreviousSession
from hybrid_platform.session.strategy_host.process import StrategyProcess, private_paths, start_strategy_process
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
    """Runs one session. One caller: start, wait or request_stop, finish."""

    def __init__(self, context: RunContext, live_gate: LiveGate | None = None) -> None:
        """``live_gate`` is needed in mode LIVE only, which is refused without it."""
        self._context = context
        self._live_gate = live_gate
        self._stop_reason: str | None = None
        self._session: _RunningSession | _FailedStart | None = None

    def start(self) -> None:
        """Start the session.

        Raises GateRefused if a gate did not pass in this run. Any other error ends the session: `wait` returns at
        once and `finish` returns the evidence.
        """
        context = self._context
        preflight = context.require_passed(PREFLIGHT, PreflightEvidence)
        context.require_passed(PRAGMA, PragmaGateEvidence)
        header = RunHeader(context, preflight, context.clock.wall_ns())
        self._session = _Startup(header, self._live_gate).run()
        if self._stop_reason is not None:
            self._session.request_stop(self._stop_reason)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the session has drained; return whether it has."""
        return self._started().wait(timeout)

    def request_stop(self, reason: str) -> None:
        """Ask for a drain; before the start, remember it for then."""
        if self._session is None:
            self._stop_reason = reason
        else:
            self._session.request_stop(reason)

    def progress(self) -> Progress:
        """Return the progress so far."""
        return self._started().progress()

    def finish(self) -> SessionEvidence:
        """Close the drained session: ledger, session row, evidence; then release the lease."""
        return self._started().finish()

    @property
    def pipeline(self) -> Pipeline | None:
        """The running pipeline, for monitoring; None if the session failed to start."""
        return self._started().pipeline

    def _started(self) -> _RunningSession | _FailedStart:
        if self._session is None:
            raise RuntimeError("session not started: call start() first")
        return self._session


class _FailedStart:
    """A session that failed to start: it has ended, and its evidence is written."""

    pipeline = None

    def __init__(self, evidence: SessionEvidence) -> None:
        self._evidence = evidence

    def wait(self, timeout: float | None = None) -> bool:
        """Return at once."""
        return True

    def request_stop(self, reason: str) -> None:
        """Do nothing."""

    def progress(self) -> Progress:
        """Return that nothing was done."""
        return Progress(0.0, 0, 0.0, 0, 0, 0, 0, 0, 0)

    def finish(self) -> SessionEvidence:
        """Return the evidence."""
        return self._evidence


@dataclass(frozen=True, slots=True)
class _Database:
    """The session's database, open for writing, and what was found in it."""

    engine: sa.Engine
    store: SessionStore
    lost: LostRows
    previous: PreviousSession | None
    """Only for live feeds, which resume where the last session ended."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of a running session, apart from its pipeline."""

    database: _Database
    feed: Feed
    writer: SessionWriter
    liveness: LivenessWriter
    reserve: ExitStack
    metrics: MetricsEndpoint
    crashed: tuple[CrashedSession, ...]


class _Startup:
    """The start of one session; used once."""

    def __init__(self, header: RunHeader, live_gate: LiveGate | None) -> None:
        self._header = header
        self._context = header.context
        self._live_gate = live_gate
        self._crashed: tuple[CrashedSession, ...] = ()

    def run(self) -> _RunningSession | _FailedStart:
        """Start the session, or record why it failed to start."""
        with ExitStack() as stack:
            parts = ExitStack()
            try:
                lease = stack.enter_context(self._acquire_lease())
                stack.enter_context(parts)
                pipeline, kept = self._start(lease, parts)
            except Exception as error:
                # Release everything but the lease first: the host may have nothing left for the evidence.
                with suppress(PlatformError, OSError):
                    parts.close()
                return _FailedStart(record_failed_start(self._header, error, self._crashed))
            return _RunningSession(self._header, pipeline, kept, stack.pop_all())

    @contextmanager
    def _acquire_lease(self) -> Iterator[Lease]:
        context = self._context
        path = lease_path(context.database_url)
        with acquire_session_lease(path, context.session_id, self._log_maintenance) as lease:
            if lease.taken_from is not None:
                context.log.warning("took over a stale lease from another host", left=str(lease.taken_from))
            yield lease

    def _start(self, lease: Lease, parts: ExitStack) -> tuple[Pipeline, _Parts]:
        """Build everything that the session needs and start it; ``parts`` releases what was built."""
        context = self._context
        reserve = parts.enter_context(hold_reserve(context.data_dir))
        liveness = LivenessWriter(
            context.data_dir, lease, context.session_id, context.run_id, context.clock, context.log
        )
        liveness.start()
        parts.callback(liveness.stop)
        database = self._open_database(parts)
        table = new_instrument_table(context.settings)
        feed = build_session_feed(
            context.settings,
            table,
            context.clock,
            context.log,
            context.database_url,
            store=context.data_dir,
            session_id=context.session_id,
            resume_points=database.previous.resume_points if database.previous else None,
        )
        feed.open()
        strategy = self._build_strategy(parts)
        # As late as possible, because this uses the arming token up.
        release = self._open_live_gate()
        database.store.start(context.session_start())
        recorder = IntervalRecorder(context)
        parts.callback(recorder.close)
        writer = SessionWriter(database.engine, context.session_id, on_wait=self._log_lock)
        parts.callback(writer.close)
        pipeline = Pipeline(
            context.settings,
            PipelineInputs(feed, strategy, table, writer),
            clock=context.clock,
            log=context.log,
            on_heartbeat=recorder,
            commands=CommandWatcher(CommandFile(context.data_dir, context.clock), context.session_id),
            live_release=release,
        )
        metrics = MetricsEndpoint(context, pipeline)
        metrics.start()
        parts.callback(metrics.close)
        pipeline.start()
        liveness.watch(pipeline.last_poll_ns, partial(pipeline.fail, "lease"))
        return pipeline, _Parts(database, feed, writer, liveness, reserve, metrics, self._crashed)

    def _open_database(self, parts: ExitStack) -> _Database:
        """Open the database, mark sessions that crashed, and look for rows that were lost since."""
        context, settings = self._context, self._context.settings
        require_file(context.database_url)
        engine = open_engine(context.database_url, role="write", busy_timeout_ms=settings.storage.busy_timeout_ms)
        parts.callback(engine.dispose)
        store = SessionStore(engine)
        lease = lease_path(context.database_url)
        self._crashed = tuple(store.mark_crashed(partial(_require_ended, lease)))
        for crashed in self._crashed:
            context.log.warning("an earlier session had crashed", crashed=crashed.session_id, kept=crashed.kept)
        lost = find_lost_rows(context, engine, self._crashed)
        for loss in lost.explained:
            context.log.warning("rows that were reported as committed were left out by a restore", what=loss)
        for loss in lost.unexplained:
            context.log.error("rows that were reported as committed are missing (L4)", what=loss)
        previous = PreviousSession(engine, settings.feed.kind, context.log) if settings.is_live_feed else None
        return _Database(engine, store, lost, previous)

    def _build_strategy(self, parts: ExitStack) -> Strategy[Any] | StrategyProcess:
        """Build the strategy in this process or in a sandboxed one."""
        settings = self._context.settings
        if settings.isolation == "thread":
            return build_strategy(settings.strategy)
        if settings.mode is Mode.LIVE:
            settings = settings.model_copy(update={"require_isolation": True})
        private = private_paths(settings, self._context.data_dir, self._context.database_url)
        process = start_strategy_process(settings, private, self._context.log)
        parts.callback(process.close)
        return process

    def _open_live_gate(self) -> LiveRelease | None:
        if self._context.settings.mode is not Mode.LIVE or self._live_gate is None:
            return None
        return self._live_gate.open(self._context, self._header.preflight.pressure)

    def _log_maintenance(self, holder: str) -> None:
        self._context.log.warning("waiting for maintenance of the database to end", holder=holder)

    def _log_lock(self, waited_s: float) -> None:
        self._context.log.warning(
            "the database is locked by another process: waiting (S12)", waited_s=round(waited_s, 1)
        )


class _RunningSession:
    """A session whose threads were started, until its evidence is written."""

    def __init__(self, header: RunHeader, pipeline: Pipeline, parts: _Parts, stack: ExitStack) -> None:
        """``stack`` releases the parts and the lease."""
        self.pipeline = pipeline
        self._header = header
        self._context = header.context
        self._parts = parts
        self._stack = stack

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the session has drained; return whether it has."""
        return self.pipeline.wait(timeout)

    def request_stop(self, reason: str) -> None:
        """Ask for a drain."""
        self.pipeline.request_stop(reason)

    def progress(self) -> Progress:
        """Return the progress so far."""
        return self.pipeline.progress()

    def finish(self) -> SessionEvidence:
        """Close the drained session: ledger, session row, evidence; then release the lease."""
        context, parts = self._context, self._parts
        with self._stack:
            parts.reserve.close()
            parts.liveness.enter_closing()
            isolation = self._close_pipeline()
            ledger = self._count()
            since_last = self._measure_gap()
            evidence = build_ended_evidence(
                self._header,
                EndedSession(
                    self.pipeline,
                    parts.writer,
                    parts.feed,
                    ledger,
                    isolation,
                    parts.crashed,
                    parts.database.lost,
                    since_last,
                    parts.metrics.figures(),
                ),
            )
            evidence = self._close_row(evidence, ledger)
            context.write(evidence)
            trim_heap()
            context.log.info(
                LogEvent.SESSION_ENDED,
                state=evidence.state,
                exit_code=evidence.exit_code,
                exit_reason=evidence.exit_reason,
                clean=evidence.clean,
                ledger_balances=ledger.balances,
            )
            return evidence

    def _close_pipeline(self) -> IsolationEvidence:
        """End the pipeline and the writer; return what was read back of the strategy's isolation."""
        self.pipeline.finish()
        if self.pipeline.is_writing:
            self._parts.writer.abandon()
        timeout_s = min(CLOSE_OUT_TIMEOUT_S, self._context.settings.drain_timeout_seconds)
        return self.pipeline.host.close_out(timeout_s)

    def _count(self) -> Ledger:
        """Count the session's rows and return its ledger."""
        try:
            counted = count_rows(self._parts.database.engine, self._context.session_id)
        except PlatformError as error:
            self._context.log.error("rows could not be counted", error=str(error))
            counted = {}
        return build_ledger(
            self._parts.feed.name,
            self.pipeline.counters.feed,
            self.pipeline.channel_stats(),
            self._parts.writer.written,
            counted,
            self.pipeline.sampler.sampled_out,
        )

    def _measure_gap(self) -> SessionGap | None:
        previous = self._parts.database.previous
        if previous is None:
            return None
        try:
            return previous.measure_gap(self._context.session_id, self._header.started_ns, self._context.log)
        except PlatformError as error:
            self._context.log.warning("the gap since the last session could not be measured", error=str(error))
            return None

    def _close_row(self, evidence: SessionEvidence, ledger: Ledger) -> SessionEvidence:
        """Write the end of the session to the database; return the evidence, failed if that is impossible."""
        end = SessionEnd(
            SessionState(evidence.state),
            ExitCode(evidence.exit_code),
            evidence.exit_reason,
            self._context.clock.wall_ns(),
            evidence.clean,
        )
        try:
            self._parts.database.store.finish(self._context.session_id, end, ledger.rows)
        except PlatformError as error:
            self._context.log.error("the session's end could not be written to the database", error=str(error))
            return fail_evidence(evidence, f"the session's end could not be written: {error}")
        return evidence


def _require_ended(lease: Path, session: SessionInfo) -> bool:
    """Return True for a session left RUNNING that has ended; raise LeaseHeld if its process still runs."""
    if session.owner.is_other_live_process:
        raise LeaseHeld(lease, f"session {session.session_id} (process {session.owner.pid} on this host)")
    return True
