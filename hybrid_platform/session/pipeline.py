"""The pipeline of one session: its stages wired together, their threads and their state (S6, S13).

in: validated settings, an open feed, a strategy, a writer · out: rows, log lines, counters and the first
failure. It installs no signal handler and does not know Dagster: the caller starts it, may request a
stop, and waits until it has drained.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S, Clock
from hybrid_platform.domain.commands import Command
from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.isolation import Denied
from hybrid_platform.domain.statistics import quantile
from hybrid_platform.evidence.records import OverloadFigures, RowFigures
from hybrid_platform.feeds.base import Feed
from hybrid_platform.host.pressure import read_pressure
from hybrid_platform.log.events import LogEvent
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.observability.counters import Counters
from hybrid_platform.observability.session_view import ChannelStats, PipelineState
from hybrid_platform.session.channel import Channel, ChannelAborted, ChannelClosed
from hybrid_platform.session.commands import CommandWatcher
from hybrid_platform.session.factories import build_channels
from hybrid_platform.session.heartbeat import Heartbeats
from hybrid_platform.session.interpreter import tune_interpreter
from hybrid_platform.session.live_stage import LiveRelease, LiveStage, LiveWiring
from hybrid_platform.session.messages import ControlMessage, RecordMessage, TickMessage
from hybrid_platform.session.outcome import Failure, Progress, StopReason, format_trace
from hybrid_platform.session.overload.monitor import OverloadMonitor, can_throttle
from hybrid_platform.session.overload.sampling import Sampler
from hybrid_platform.session.overload.watchdog import Watchdog
from hybrid_platform.session.stage import Stage, StageStatus
from hybrid_platform.session.stages.decision_sink import DecisionSink, SignalsDigest
from hybrid_platform.session.stages.ingest import Ingest
from hybrid_platform.session.stages.persist import Persist
from hybrid_platform.session.strategy_host.base import StrategyHost
from hybrid_platform.session.strategy_host.process import StrategyProcess
from hybrid_platform.session.strategy_host.process_host import ProcessHost
from hybrid_platform.session.strategy_host.threads import ThreadHost
from hybrid_platform.session.supervisor import Supervisor
from hybrid_platform.settings.session import Mode, SessionSettings
from hybrid_platform.storage.writer import SessionWriter
from hybrid_platform.strategies.base import Strategy


class PipelineInputs(NamedTuple):
    """The ends of a pipeline, a feed and a writer, and the strategy between them."""

    feed: Feed
    strategy: Strategy[Any] | StrategyProcess
    """A strategy runs as threads of this process; a process runs the strategy that it has built."""
    table: InstrumentTable
    writer: SessionWriter


class Pipeline:
    """The threads of one session. One caller: start, wait or request_stop, finish."""

    def __init__(
        self,
        settings: SessionSettings,
        inputs: PipelineInputs,
        *,
        clock: Clock,
        log: SessionLog,
        on_heartbeat: Callable[[], None],
        commands: CommandWatcher,
        live_release: LiveRelease | None = None,
    ) -> None:
        """Wire the stages without starting them.

        ``on_heartbeat`` is called by the supervisor after each heartbeat but the first; ``commands`` is polled
        for the kill switch. Raises ConfigError unless ``live_release`` is given in mode LIVE and in no other.
        """
        self._settings = settings
        self._feed = inputs.feed
        self._writer = inputs.writer
        self._clock = clock
        self._log = log
        self._on_heartbeat = on_heartbeat
        self._commands = commands
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._failure: Failure | None = None
        self._stop_reason: str | None = None
        self._started_ns = self._ended_ns = 0
        self._restore_interpreter: Callable[[], None] = _do_nothing
        self.counters = Counters()
        self.digest = SignalsDigest()
        self.sampler = Sampler()
        self.channels = build_channels(settings)
        self._ingest = self._build_ingest()
        self.live_stage = self._build_live_stage(live_release, inputs)
        self.host = self._build_host(inputs)
        self.persist = self._build_persist()
        self._overload = self._build_overload_monitor() if can_throttle(settings) else None
        self.heartbeats = Heartbeats(settings.heartbeat.interval_seconds, settings.heartbeat.late_seconds)
        self._supervisor = Supervisor(
            self,
            watchdog=Watchdog(settings, self, feed=self._feed.name, started=clock.monotonic_ns()),
            heartbeats=self.heartbeats,
            # A synthetic feed ends by itself, so that every tick that is due is emitted however late the process is.
            time_limit_seconds=settings.seconds if settings.feed.synthetic is None else None,
            drain_timeout_seconds=settings.drain_timeout_seconds,
            clock=clock,
            log=log,
        )

    def _build_ingest(self) -> Ingest:
        return Ingest(
            self._feed,
            self.channels.tick,
            self.channels.persist,
            sampler=self.sampler,
            counters=self.counters.feed,
            stop=self._stop,
            clock=self._clock,
            log=self._log,
            on_failure=self.fail,
        )

    def _build_live_stage(self, release: LiveRelease | None, inputs: PipelineInputs) -> LiveStage | None:
        """Return the stage that sends orders to a venue: in mode LIVE, past its gate, with a sandboxed process only."""
        settings = self._settings
        is_live = settings.mode is Mode.LIVE
        if is_live is (release is None) or (is_live and not isinstance(inputs.strategy, StrategyProcess)):
            expected = "LIVE with a release of the LIVE gate and isolation: process, or another mode"
            given = "no release" if release is None else "a release"
            raise ConfigError([Fault("mode", expected, f"{settings.mode}, isolation: {settings.isolation}, {given}")])
        if release is None:
            return None
        return release.build_stage(
            LiveWiring(
                settings,
                inputs.table,
                self.channels.tick,
                feed_ended=lambda: self._ingest.has_ended,
                clock=self._clock,
                log=self._log,
                on_failure=self.fail,
            )
        )

    def _build_host(self, inputs: PipelineInputs) -> StrategyHost:
        decisions = DecisionSink(
            self.channels.persist,
            live=self._settings.is_live_feed,
            counters=self.counters.decisions,
            digest=self.digest,
            clock=self._clock,
            log=self._log,
            automatic=self._commands.automatic,
        )
        if isinstance(inputs.strategy, StrategyProcess):
            return ProcessHost(
                self._settings,
                inputs.strategy,
                inputs.table,
                self.channels,
                decisions,
                last_seq=self._last_seq,
                on_failure=self.fail,
                live_stage=self.live_stage,
            )
        return ThreadHost(
            self._settings,
            inputs.strategy,
            inputs.table,
            self.channels,
            decisions,
            last_seq=self._last_seq,
            clock=self._clock,
            on_failure=self.fail,
        )

    def _build_persist(self) -> Persist:
        storage, channel = self._settings.storage, self.channels.persist
        batch_rows = storage.batch_rows
        if self._settings.is_live_feed:
            # While a batch is committed the channel fills up, so a live batch is not larger than the channel.
            batch_rows = min(batch_rows, channel.capacity)
        return Persist(
            self._writer,
            channel,
            batch_rows=batch_rows,
            flush_interval_ms=storage.flush_interval_ms,
            counters=self.counters.persist,
            clock=self._clock,
            on_failure=self.fail,
        )

    def _build_overload_monitor(self) -> OverloadMonitor:
        return OverloadMonitor(
            self._settings,
            self.sampler,
            read_pressure=lambda: read_pressure(self._clock),
            channels=lambda: (self.channels.tick.stats(), self.channels.persist.stats()),
            counters=self.counters.feed,
            clock=self._clock,
            log=self._log,
            on_failure=self.fail,
        )

    def _last_seq(self) -> int:
        return self.counters.feed.accepted

    # Called by the owner of the session.

    def start(self) -> None:
        """Start the threads, from the end of the pipeline to its beginning."""
        self._restore_interpreter = tune_interpreter()
        try:
            self._start()
        except BaseException:
            self._restore_interpreter()
            raise

    def _start(self) -> None:
        self._started_ns = self._clock.monotonic_ns()
        self._log.info(
            LogEvent.CHANNELS_CREATED,
            **{stats.name: stats.capacity for stats in self.channels.stats()},
            policies={stats.name: stats.policy for stats in self.channels.stats()},
        )
        standing = self._commands.standing()
        if standing is not None:
            self._send_command(standing)
        started = LogEvent.SHADOW_EXECUTION_STARTED if self.live_stage is None else LogEvent.LIVE_EXECUTION_STARTED
        self._log.info(started, mode=self._settings.mode)
        if self.live_stage is not None:
            self.live_stage.open(self._log.session_id)
        try:
            self.persist.start()
            self.host.start()
            self._ingest.start()
            self._supervisor.start()
        except BaseException:  # the host has no more threads to give: end those that were started
            self.channels.abort()
            if self.live_stage is not None:
                self.live_stage.abandon()
            raise

    def request_stop(self, reason: str) -> None:
        """Ask for a drain; the first reason stays. Safe from any thread and from a signal handler."""
        if self._stop_reason is None:
            self._stop_reason = reason
        self._stop.set()

    def fail(self, part: str, error: BaseException) -> None:
        """Record an error and drain; the first one decides how the session ends. Safe from any thread."""
        with self._lock:
            is_first = self._failure is None
            if is_first:
                self._failure = Failure(part, error)
        if part == "persist":
            self.counters.persist.errors += 1
        self._log.error(
            "stage failed" if is_first else "stage failed too",
            stage=part,
            error=str(Failure(part, error)),
            **format_trace(error),
        )
        self._stop.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the pipeline has drained; return whether it has."""
        return self._supervisor.ended.wait(timeout)

    def finish(self) -> None:
        """Stop the clock of the drained pipeline and log its final metrics, which include the last commit."""
        self._restore_interpreter()
        self._ended_ns = self._clock.monotonic_ns()
        if not self.counters.feed.accepted and self._failure is None:
            self._log.warning("no ticks received from the feed", feed=self._feed.name)
        self._log.info(LogEvent.FINAL_METRICS, **self.metrics())

    # Called by the supervisor and its watchdog.

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Every stage but persist, ingest first."""
        return (self._ingest, *self.host.stages)

    @property
    def all_stages(self) -> tuple[Stage, ...]:
        """Every stage, ingest first and persist last."""
        return (*self.stages, self.persist)

    @property
    def persist_channel(self) -> Channel[TickMessage | RecordMessage]:
        """The channel to persist."""
        return self.channels.persist

    @property
    def is_stopping(self) -> bool:
        """Whether a stop was requested."""
        return self._stop.is_set()

    @property
    def rows_received(self) -> int:
        """Rows that the feed has read."""
        return self.counters.feed.received

    def statuses(self) -> tuple[StageStatus, ...]:
        """Return the status of every stage, from the end of the pipeline to its beginning."""
        return (self.persist.status, *self.host.statuses(), self._ingest.status)

    def drain_progress(self) -> object:
        """Return a value that changes whenever work was done; heartbeats on the persist channel do not count."""
        return (
            tuple((stats.sent, stats.received) for stats in self.channel_stats()[:-1]),
            tuple(status.remaining for status in self.host.statuses()),
        )

    def poll(self) -> None:
        """Pass on kill-switch commands and update the overload monitor."""
        for command in self._commands.poll():
            self._send_command(command)
        if self._overload is not None:
            self._overload.poll()

    def after_heartbeat(self) -> None:
        """Call what the owner wants done after each heartbeat but the first."""
        self._on_heartbeat()

    def _send_command(self, command: Command) -> None:
        if self.live_stage is not None:
            self.live_stage.on_command(command)
        with suppress(ChannelAborted, ChannelClosed):
            self.channels.tick.send(ControlMessage(command), guaranteed=True)

    # Read from outside while it runs, and afterwards.

    def last_poll_ns(self) -> int:
        """Return the monotonic instant at which the supervising thread last polled."""
        return self._supervisor.last_poll_ns

    @property
    def state(self) -> PipelineState:
        """How far the pipeline is."""
        if self._failure is not None:
            return PipelineState.FAILED
        if self._supervisor.ended.is_set():
            return PipelineState.DRAINED
        return PipelineState.DRAINING if self._stop.is_set() else PipelineState.RUNNING

    @property
    def persist_errors(self) -> int:
        """Failed writes and failures of the persist stage."""
        return self.counters.persist.errors + self._writer.errors

    @property
    def lock_timeouts(self) -> int:
        """How often the busy timeout ran out on a locked database (S12)."""
        return self._writer.lock_timeouts

    @property
    def sample_every(self) -> int:
        """Every n-th tick passes the throttle ladder (S15)."""
        return self.sampler.every

    def denied(self) -> tuple[Denied, ...]:
        """Return what strategy and execution tried and were denied (I1)."""
        return self.host.denied()

    @property
    def failure(self) -> Failure | None:
        """The first failure, if there was one."""
        return self._failure

    @property
    def written(self) -> tuple[RowFigures, RowFigures]:
        """Digests of the ticks and of the inputs that were committed."""
        return self.persist.ticks.figures(), self.persist.inputs.figures()

    def overload_figures(self) -> OverloadFigures | None:
        """Return how busy host and pipeline were until the end, or None if that was not monitored."""
        return None if self._overload is None else self._overload.figures(self._ended_ns)

    @property
    def is_writing(self) -> bool:
        """Whether the writer's thread is still running; after the end of the session it is stuck."""
        return self.persist.is_alive

    @property
    def is_clean(self) -> bool:
        """Whether nothing failed and every thread has ended."""
        return self._failure is None and not any(stage.is_alive for stage in self.all_stages)

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

    @property
    def elapsed_ns(self) -> int:
        """Time since `channels created`, until now or until the end."""
        return (self._ended_ns or self._clock.monotonic_ns()) - self._started_ns

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
            **self._count_orders(),
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

    def _count_orders(self) -> dict[str, int]:
        orders = self.counters.decisions.orders
        return {"shadow_orders": orders} if self.live_stage is None else {"shadow_orders": 0, "live_orders": orders}

    def progress(self) -> Progress:
        """Return the progress so far."""
        counters, elapsed_s = self.counters, self.elapsed_ns / NS_PER_S
        return Progress(
            elapsed_s,
            counters.feed.accepted,
            counters.feed.accepted / elapsed_s if elapsed_s else 0.0,
            counters.decisions.signals,
            counters.decisions.orders,
            counters.decisions.trades,
            counters.decisions.vetoes,
            sum(stats.dropped for stats in self.channel_stats()),
            counters.persist.rows,
        )


def _do_nothing() -> None:
    """Stand in for a callback that is not set yet."""
