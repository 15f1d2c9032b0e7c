"""One session of the pipeline: builds the stages, starts them, and ends with a result and its ledger.

in: validated settings, a migrated database, a data directory · out: rows, log lines and a
`SessionResult`. Nothing here installs a signal handler or knows Dagster: whoever runs a session
calls `request_stop`, and `wait` until it has drained (S6, S13).
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S, Clock
from hybrid_platform.domain.commands import Command
from hybrid_platform.domain.errors import ConfigError, ExitCode, Fault, PlatformError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.isolation import Denied
from hybrid_platform.domain.statistics import quantile
from hybrid_platform.evidence.records import OverloadFigures, RowFigures
from hybrid_platform.feeds.base import Feed
from hybrid_platform.host.pressure import read_pressure
from hybrid_platform.live.execution import LiveExecution
from hybrid_platform.live.gate import Release
from hybrid_platform.log.events import LogEvent
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.observability.counters import Counters
from hybrid_platform.observability.session_view import ChannelStats, PipelineState
from hybrid_platform.session.channel import ChannelAborted, ChannelClosed
from hybrid_platform.session.commands import CommandWatcher
from hybrid_platform.session.factories import build_channels
from hybrid_platform.session.heartbeat import Heartbeats
from hybrid_platform.session.interpreter import tune_interpreter
from hybrid_platform.session.messages import ControlMessage
from hybrid_platform.session.overload.monitor import OverloadMonitor, can_throttle
from hybrid_platform.session.overload.sampling import Sampler
from hybrid_platform.session.overload.watchdog import Watchdog
from hybrid_platform.session.stages.decision_sink import DecisionSink, SignalsDigest
from hybrid_platform.session.stages.ingest import Ingest
from hybrid_platform.session.stages.persist import Persist
from hybrid_platform.session.strategy_host.hosts import ProcessHost, StrategyHost, ThreadHost
from hybrid_platform.session.strategy_host.process import SandboxedStageError, StrategyProcess
from hybrid_platform.session.supervisor import Supervisor
from hybrid_platform.settings.session import Mode, SessionSettings
from hybrid_platform.storage.writer import SessionWriter
from hybrid_platform.strategies.base import Strategy


class StopReason:
    """Why a session drained (`sessions.exit_reason`)."""

    END_OF_FEED = "END_OF_FEED"
    TIME_LIMIT = "TIME_LIMIT"
    SIGTERM = "SIGTERM"
    SIGINT = "SIGINT"
    TERMINATED = "TERMINATED"


class Failure(NamedTuple):
    """The first thing that went wrong."""

    stage: str
    error: BaseException

    @property
    def exit_code(self) -> ExitCode:
        """What a supervisor should make of it."""
        return self.error.exit_code if isinstance(self.error, PlatformError) else ExitCode.CRASH

    @property
    def kind(self) -> str:
        """The error's type; of one behind the guard, the type it had there."""
        return self.error.kind if isinstance(self.error, SandboxedStageError) else type(self.error).__name__

    def __str__(self) -> str:
        if isinstance(self.error, PlatformError):
            return f"{self.stage}: {self.error}"
        return f"{self.stage}: {type(self.error).__name__}: {self.error}"


class Progress(NamedTuple):
    """Where a session stands."""

    elapsed_s: float
    ticks: int
    ticks_per_second: float
    signals: int
    orders: int
    trades: int
    vetoes: int
    dropped: int
    committed_rows: int


class Pipeline:
    """A session that was built and not yet ended. One caller: start, wait or stop, finish."""

    def __init__(  # noqa: PLR0913
        self,
        settings: SessionSettings,
        feed: Feed,
        strategy: Strategy[Any] | StrategyProcess,
        table: InstrumentTable,
        writer: SessionWriter,
        *,
        clock: Clock,
        log: SessionLog,
        on_interval: Callable[[], None],
        commands: CommandWatcher,
        release: Release | None = None,
    ) -> None:
        """Wire everything; start nothing.

        ``release``: what the LIVE gate gave out, for mode LIVE and no other: raises ConfigError without it.
        ``strategy``: to run as threads here, or the guarded process that has made it. ``on_interval`` is
        called by the supervisor after each heartbeat; ``commands`` is watched for the kill switch.
        """
        self._settings = settings
        self._commands = commands
        self._feed = feed
        self._writer = writer
        self._clock = clock
        self._log = log
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._failure: Failure | None = None
        self._stop_reason: str | None = None
        self.counters = Counters()
        self.heartbeats = Heartbeats(settings.heartbeat.interval_seconds, settings.heartbeat.late_seconds)
        self.digest = SignalsDigest()
        self._started = self._ended = 0
        self.channels = channels = build_channels(settings)
        self.sampler = Sampler()
        self._ingest = Ingest(
            feed,
            channels.tick,
            channels.persist,
            sampler=self.sampler,
            counters=self.counters.feed,
            stop=self._stop,
            clock=clock,
            log=log,
            on_failure=self._fail,
        )
        decisions = DecisionSink(
            channels.persist,
            live=settings.is_live_feed,
            counters=self.counters.decisions,
            digest=self.digest,
            clock=clock,
            log=log,
            automatic=commands.automatic,
        )
        self.venue = self._live_execution(release, strategy, table)
        self.host = self._build_host(strategy, table, decisions)
        self._persist = Persist(
            writer,
            channels.persist,
            # Live, what waits for a commit must fit behind it: a long one fills the channel while it lasts.
            batch_rows=min(settings.storage.batch_rows, channels.persist.capacity)
            if settings.is_live_feed
            else settings.storage.batch_rows,
            flush_interval_ms=settings.storage.flush_interval_ms,
            counters=self.counters.persist,
            clock=clock,
            on_failure=self._fail,
        )
        self.overload = self._overload_watch() if can_throttle(settings) else None
        # A synthetic feed ends itself, so that every tick that is due is emitted however late the process is.
        own_limit = settings.feed.synthetic is not None
        self._supervisor = Supervisor(
            (self._ingest, *self.host.stages),
            self._persist,
            channels.persist,
            watchdog=self._watchdog(),
            heartbeats=self.heartbeats,
            counters=self.metrics,
            # Not the persist channel: the supervisor's own heartbeats go there.
            progress=lambda: (
                tuple((each.sent, each.received) for each in self.channel_stats()[:-1]),
                tuple(status.remaining for status in self.host.statuses()),
            ),
            time_limit_seconds=None if own_limit else settings.seconds,
            drain_timeout_seconds=settings.drain_timeout_seconds,
            on_time_limit=lambda: self.request_stop(StopReason.TIME_LIMIT),
            on_interval=on_interval,
            on_poll=self._poll,
            stop=self._stop,
            clock=clock,
            log=log,
            on_failure=self._fail,
        )

    def _build_host(
        self, strategy: Strategy[Any] | StrategyProcess, table: InstrumentTable, to: DecisionSink
    ) -> StrategyHost:
        def last_seq() -> int:
            return self.counters.feed.accepted

        if isinstance(strategy, StrategyProcess):
            return ProcessHost(
                self._settings,
                strategy,
                table,
                self.channels,
                to,
                last_seq=last_seq,
                on_failure=self._fail,
                venue=self.venue,
            )
        return ThreadHost(
            self._settings,
            strategy,
            table,
            self.channels,
            to,
            last_seq=last_seq,
            clock=self._clock,
            on_failure=self._fail,
        )

    def _live_execution(
        self, release: Release | None, strategy: Strategy[Any] | StrategyProcess, table: InstrumentTable
    ) -> LiveExecution | None:
        """Return the way to a venue, which is there in mode LIVE, behind the gate, beside a guarded process only."""
        is_live = self._settings.mode is Mode.LIVE
        if is_live is (release is None) or (is_live and not isinstance(strategy, StrategyProcess)):
            expected = "LIVE with a release of the LIVE gate and isolation: process, or another mode"
            given = "no release" if release is None else "a release"
            was = f"{self._settings.mode}, isolation: {self._settings.isolation}, {given}"
            raise ConfigError([Fault("mode", expected, was)])
        if release is None:
            return None
        return LiveExecution(
            release,
            self._settings,
            table,
            self.channels.tick,
            feed_ended=lambda: self._ingest.has_ended,
            clock=self._clock,
            log=self._log,
            on_failure=self._fail,
        )

    def _watchdog(self) -> Watchdog:
        stages = (self._ingest, *self.host.stages, self._persist)
        return Watchdog(
            self._settings,
            lambda: (self._persist.status, *self.host.statuses(), self._ingest.status),
            stages,
            received=lambda: self.counters.feed.received,
            feed=self._feed.name,
            started=self._clock.monotonic_ns(),
        )

    def _overload_watch(self) -> OverloadMonitor:
        return OverloadMonitor(
            self._settings,
            self.sampler,
            read=lambda: read_pressure(self._clock),
            channels=lambda: (self.channels.tick.stats(), self.channels.persist.stats()),
            counters=self.counters.feed,
            clock=self._clock,
            log=self._log,
            on_failure=self._fail,
        )

    def start(self) -> None:
        """Start the threads, from the end of the pipeline to its beginning."""
        self._set_back = tune_interpreter()
        try:
            self._start()
        except BaseException:
            self._set_back()
            raise

    def _start(self) -> None:
        self._started = self._clock.monotonic_ns()
        self._log.info(
            LogEvent.CHANNELS_CREATED,
            **{stats.name: stats.capacity for stats in self.channels.stats()},
            policies={stats.name: stats.policy for stats in self.channels.stats()},
        )
        standing = self._commands.standing()
        if standing is not None:
            self._tell(standing)
        started = LogEvent.SHADOW_EXECUTION_STARTED if self.venue is None else LogEvent.LIVE_EXECUTION_STARTED
        self._log.info(started, mode=self._settings.mode)
        if self.venue is not None:
            self.venue.open(self._log.session_id)
        try:
            for stage in (self._persist, *reversed(self.host.stages), self._ingest):
                stage.start()
            self._supervisor.start()
        except BaseException:  # a host that gives no more threads: those that were started end
            self.channels.abort()
            if self.venue is not None:
                self.venue.abandon()
            raise

    def _poll(self) -> None:
        for command in self._commands.poll():
            self._tell(command)
        if self.overload is not None:
            self.overload.poll()

    def _tell(self, command: Command) -> None:
        if self.venue is not None:
            self.venue.tell(command)
        with suppress(ChannelAborted, ChannelClosed):
            self.channels.tick.send(ControlMessage(command), guaranteed=True)

    def request_stop(self, reason: str) -> None:
        """Ask for a drain; the first reason stays. Safe from any thread and from a signal handler."""
        if self._stop_reason is None:
            self._stop_reason = reason
        self._stop.set()

    def fail(self, part: str, error: BaseException) -> None:
        """End the session as failed, for a reason outside its stages. Safe from any thread."""
        self._fail(part, error)

    def last_poll_ns(self) -> int:
        """Return the monotonic instant (ns) at which the supervising thread last looked."""
        return self._supervisor.last_poll_ns

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the session has drained; return whether it has."""
        return self._supervisor.ended.wait(timeout)

    def finish(self) -> None:
        """Stop the clock of the drained session and log its final metrics, which follow the last commit."""
        self._set_back()
        self._ended = self._clock.monotonic_ns()
        if not self.counters.feed.accepted and self._failure is None:
            self._log.warning("the feed gave no tick at all", feed=self._feed.name)
        self._log.info(LogEvent.FINAL_METRICS, **self.metrics())

    @property
    def state(self) -> PipelineState:
        """Where its life stands."""
        if self._failure is not None:
            return PipelineState.FAILED
        if self._supervisor.ended.is_set():
            return PipelineState.DRAINED
        return PipelineState.DRAINING if self._stop.is_set() else PipelineState.RUNNING

    @property
    def persist_errors(self) -> int:
        """Failures of the persist stage, and writes that failed."""
        return self.counters.persist.errors + self._writer.errors

    @property
    def lock_timeouts(self) -> int:
        """How often the busy timeout ran out on a locked database (S12)."""
        return self._writer.lock_timeouts

    @property
    def sample_every(self) -> int:
        """Every n-th tick passes the sampling ladder."""
        return self.sampler.every

    def denied(self) -> tuple[Denied, ...]:
        """Return what strategy and execution tried and were denied (I1)."""
        return self.host.denied()

    @property
    def failure(self) -> Failure | None:
        """The first thing that went wrong, if anything did."""
        return self._failure

    @property
    def written(self) -> tuple[RowFigures, RowFigures]:
        """What was committed of the ticks, and of the inputs beside them."""
        return self._persist.ticks.figures(), self._persist.inputs.figures()

    def load(self) -> OverloadFigures | None:
        """Return how busy host and pipeline were until the session's end; None where that was not watched."""
        return None if self.overload is None else self.overload.figures(self._ended)

    @property
    def is_writing(self) -> bool:
        """Whether the writer's thread is still at work: once the session has ended, it is stuck there."""
        return self._persist.is_alive

    @property
    def is_clean(self) -> bool:
        """Whether every thread ended by itself."""
        stages = (self._ingest, *self.host.stages, self._persist)
        return self._failure is None and not any(stage.is_alive for stage in stages)

    @property
    def exit_reason(self) -> str:
        """Why the session ended: a `StopReason`, or the kind of its failure."""
        if self._failure is not None:
            return self._failure.kind
        if self._stop_reason is not None:
            return self._stop_reason
        seconds = self._settings.seconds
        if seconds is not None and self.elapsed_ns >= seconds * NS_PER_S:
            return StopReason.TIME_LIMIT
        return StopReason.END_OF_FEED

    def _fail(self, stage: str, error: BaseException) -> None:
        with self._lock:
            first = self._failure is None
            if first:
                self._failure = Failure(stage, error)
        if stage == "persist":
            self.counters.persist.errors += 1
        self._log.error(
            "stage failed" if first else "stage failed too",
            stage=stage,
            error=str(Failure(stage, error)),
            **format_trace(error),
        )
        self._stop.set()

    @property
    def elapsed_ns(self) -> int:
        """From `channels created` until now, or until the end."""
        return (self._ended or self._clock.monotonic_ns()) - self._started

    def channel_stats(self) -> tuple[ChannelStats, ...]:
        """Return every channel, in the order in which a tick meets them."""
        return (self.channels.tick.stats(), *self.host.stats(), self.channels.persist.stats())

    def metrics(self) -> dict[str, Any]:
        """Return the fields of HEARTBEAT and FINAL METRICS."""
        counters = self.counters
        stats = {each.name: each for each in self.channel_stats()}
        lag = sorted(counters.feed.lag_ns)
        return {
            "tick_count": counters.feed.accepted,
            "signal_count": counters.decisions.signals,
            **self._orders(),
            "trade_count": counters.decisions.trades,
            "persist_count": counters.persist.rows,
            "persist_errors": self.persist_errors,
            "risk_vetoes": counters.decisions.vetoes,
            "bp_drops_tick": stats["tick"].dropped,
            "bp_drops_signal": stats["signal"].dropped,
            "bp_drops_persist": stats["persist"].dropped,
            "queue_depths": {name: each.depth for name, each in stats.items()},
            "lag_ms": round(quantile(lag, 0.5, higher=True) / NS_PER_MS, 3) if lag else None,
            "rejected": counters.feed.rejected,
            "duplicates": counters.feed.duplicate,
            "sampled_out": counters.feed.sampled_out,
            "sample_every": self.sampler.every,
            "elapsed_s": round(self.elapsed_ns / NS_PER_S, 3),
        }

    def _orders(self) -> dict[str, int]:
        orders = self.counters.decisions.orders
        return {"shadow_orders": orders} if self.venue is None else {"shadow_orders": 0, "live_orders": orders}

    def progress(self) -> Progress:
        """Return where the session stands."""
        counters, elapsed = self.counters, self.elapsed_ns / NS_PER_S
        return Progress(
            elapsed,
            counters.feed.accepted,
            counters.feed.accepted / elapsed if elapsed else 0.0,
            counters.decisions.signals,
            counters.decisions.orders,
            counters.decisions.trades,
            counters.decisions.vetoes,
            sum(stats.dropped for stats in self.channel_stats()),
            counters.persist.rows,
        )


def format_trace(error: BaseException) -> dict[str, str]:
    """Return where an error came from, where its message alone does not say what to do: a fault of the platform."""
    told = isinstance(error, PlatformError | OSError | MemoryError)  # what the host refuses is no fault of ours
    return {} if told else {"trace": "".join(traceback.format_exception(error))}
