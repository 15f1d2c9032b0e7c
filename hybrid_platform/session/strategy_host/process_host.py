"""``isolation: process``: two stages that continue the channels through the pipes of a sandboxed process (I1, S13).

`TickSender` sends ticks down, `ResultReceiver` takes audit records up. A process that dies, or sends
a frame that does not decode, ends the session and leaves evidence of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

from hybrid_platform.domain.errors import IsolationError, OverloadError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.isolation import Denied, IsolationEvidence
from hybrid_platform.observability.session_view import ChannelStats
from hybrid_platform.session.channel import Channel, ChannelAborted, EndOfStream
from hybrid_platform.session.factories import Channels
from hybrid_platform.session.live_stage import LiveStage
from hybrid_platform.session.messages import ControlMessage, RecordMessage, TickMessage, coalesce
from hybrid_platform.session.outcome import SandboxedStageError
from hybrid_platform.session.stage import OnFailure, Stage, StageStatus
from hybrid_platform.session.stages.decision_sink import DecisionSink
from hybrid_platform.session.strategy_host.frames import (
    Ack,
    CommandFrame,
    EndOfTicks,
    InstrumentsFrame,
    RecordsFrame,
    ReportFrame,
    RequestsFrame,
    StageFailed,
    StatusFrame,
    Summary,
    UpFrame,
    encode_ticks,
)
from hybrid_platform.session.strategy_host.process import REPLAY_FRAME, StrategyProcess
from hybrid_platform.settings.runtime import OnFull
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.trading.accounts import AccountSnapshot
from hybrid_platform.trading.order import Report

LIVE_WINDOW, LIVE_FRAME = 64, 64
REPLAY_WINDOW = 16_384
POLL_INTERVAL_S = 0.5


class CreditWindow:
    """Bounds the ticks in flight: sent minus processed stays within the window."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._open = 0
        self.acknowledged = 0
        """Ticks that the strategy has processed."""
        self._aborted = False
        self._changed = threading.Condition()

    def acquire(self, wanted: int) -> int:
        """Wait for credit and take up to ``wanted`` of it; raise ChannelAborted after `abort`."""
        with self._changed:
            self._changed.wait_for(lambda: self._open < self._window or self._aborted)
            if self._aborted:
                raise ChannelAborted("pipe")
            taken = min(wanted, self._window - self._open)
            self._open += taken
            return taken

    def acknowledge(self, events: int) -> None:
        """Return the credit of ticks that the strategy has processed."""
        self.acknowledged += events
        self.release(events)

    def release(self, events: int) -> None:
        """Return credit that was not used."""
        with self._changed:
            self._open -= events
            self._changed.notify_all()

    def abort(self) -> None:
        """Wake the waiting sender with ChannelAborted."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()


class TickSender(Stage):
    """tick channel -> pipe, at most a window ahead of the strategy, so that the channel stays the place of drops."""

    def __init__(
        self,
        process: StrategyProcess,
        ticks: Channel[TickMessage | ControlMessage],
        credit: CreditWindow,
        table: InstrumentTable,
        *,
        last_seq: Callable[[], int],
        live: bool,
        on_failure: OnFailure,
        live_stage: LiveStage | None = None,
    ) -> None:
        super().__init__("tick sender", (ticks,), (), on_failure)
        self._writer = process.writer
        self._child = process.child
        self._ticks = ticks
        self._credit = credit
        self._table = table
        self._known = 0
        self._last_seq = last_seq
        self._frame = LIVE_FRAME if live else REPLAY_FRAME
        self._live_stage = live_stage
        self.sent = 0

    def work(self) -> None:
        """Send ticks and commands until the tick channel ends."""
        try:
            while True:
                self.progress.mark_idle()
                # Credit first: ticks that wait for it wait in the channel, where the oldest can still be dropped.
                credit = self._credit.acquire(self._frame)
                try:
                    messages = self._ticks.receive(credit)
                except EndOfStream:
                    self._writer.write(EndOfTicks(self._last_seq()))
                    return
                self.progress.mark_busy()
                for message in coalesce(messages):
                    self._send(message)
                self._credit.release(credit - sum(message.events for message in messages))
        except BrokenPipeError:
            # The receiver meets the same end of the pipe and reports why.
            raise ChannelAborted("pipe") from None
        except ChannelAborted:
            # Close the pipe instead of writing a last frame, which may find no reader.
            self._child.close_pipe("down")
            raise

    def _send(self, message: TickMessage | ControlMessage) -> None:
        if isinstance(message, ControlMessage):
            content = message.content
            self._writer.write(ReportFrame(content) if isinstance(content, Report) else CommandFrame(content))
            return
        if self._live_stage is not None:
            self._live_stage.on_ticks(message.batch)
        if len(self._table) > self._known:
            entries = tuple(self._table)[self._known :]
            self._writer.write(InstrumentsFrame(entries))
            self._known += len(entries)
        self._writer.write(encode_ticks(message.batch))
        self.sent += len(message.batch)


class ResultReceiver(Stage):
    """pipe -> decisions: records, order requests, acknowledgements and status of the sandboxed process."""

    def __init__(
        self,
        process: StrategyProcess,
        ticks: Channel[TickMessage | ControlMessage],
        credit: CreditWindow,
        decisions: DecisionSink,
        *,
        on_failure: OnFailure,
        live_stage: LiveStage | None = None,
    ) -> None:
        outputs = (decisions,) if live_stage is None else (decisions, live_stage)
        super().__init__("sandboxed process", (ticks, credit), outputs, on_failure)
        self._live_stage = live_stage
        self._process = process
        self._credit = credit
        self._decisions = decisions
        self.received = 0
        self._inside: tuple[StageStatus, ...] = ()

    def work(self) -> None:
        """Read frames until the process sends its summary."""
        while self._process.summary is None:
            try:
                frame = cast("UpFrame | None", self._process.reader.read(POLL_INTERVAL_S))
            except EOFError:
                raise IsolationError(f"the sandboxed process ended: {self._describe_end()}") from None
            if frame is not None:
                self.progress.mark_busy()
            if isinstance(frame, RecordsFrame):
                self._forward_records(frame)
            elif isinstance(frame, StatusFrame):
                self._inside = frame.stages
            elif isinstance(frame, RequestsFrame) and self._live_stage is not None:
                self._forward_requests(self._live_stage, frame)
            elif isinstance(frame, Ack):
                self._credit.acknowledge(frame.events)
            elif isinstance(frame, StageFailed):
                # The process drains what it has, then sends its summary.
                self._on_failure(frame.stage, SandboxedStageError(frame.message, frame.exit_code, frame.kind))
                self.abort()
            elif isinstance(frame, Summary):
                self._process.summary = frame
            elif frame is not None:
                raise IsolationError(f"pipe: expected decisions, got {type(frame).__name__}")

    @property
    def statuses(self) -> tuple[StageStatus, ...]:
        """The stages inside as last reported, and the process itself, which reports every second."""
        is_expected = self.is_alive and self._process.summary is None
        return (
            *self._inside,
            StageStatus(self.name, is_expected, self.progress.iterations, expectation="a status each second"),
        )

    @property
    def acknowledged(self) -> int:
        """Ticks that the strategy has processed."""
        return self._credit.acknowledged

    def _forward_records(self, frame: RecordsFrame) -> None:
        """Forward records; if they do not fit the session fails, but the pipe is read until `Summary`."""
        self.received += len(frame.records)
        try:
            self._decisions.send(RecordMessage(frame.records))
            if self._live_stage is not None:
                self._live_stage.on_records(frame.records)
        except OverloadError as error:
            self._on_failure(self.name, error)
            self.abort()
        except ChannelAborted:
            self.abort()

    def _forward_requests(self, live_stage: LiveStage, frame: RequestsFrame) -> None:
        """Forward order requests after their audit records are queued; drop them if live execution has stopped."""
        try:
            live_stage.on_requests(frame.requests)
        except OverloadError as error:
            self._on_failure(self.name, error)
            self.abort()
        except ChannelAborted:
            return

    def _describe_end(self) -> str:
        status = self._process.child.wait(POLL_INTERVAL_S)
        return "unknown" if status is None else f"killed by signal {-status}" if status < 0 else f"exit status {status}"


class ProcessHost:
    """Runs strategy and execution in the sandboxed process; this side holds the ends of its pipes."""

    def __init__(
        self,
        settings: SessionSettings,
        process: StrategyProcess,
        table: InstrumentTable,
        channels: Channels,
        decisions: DecisionSink,
        *,
        last_seq: Callable[[], int],
        on_failure: OnFailure,
        live_stage: LiveStage | None = None,
    ) -> None:
        """``live_stage`` is the stage that sends orders to the venue, in mode LIVE only."""
        self._process = process
        self._live_stage = live_stage
        self._signal = channels.signal
        live = settings.is_live_feed
        self._window = LIVE_WINDOW if live else REPLAY_WINDOW
        credit = CreditWindow(self._window)
        self._sender = TickSender(
            process,
            channels.tick,
            credit,
            table,
            last_seq=last_seq,
            live=live,
            on_failure=on_failure,
            live_stage=live_stage,
        )
        self._receiver = ResultReceiver(
            process, channels.tick, credit, decisions, on_failure=on_failure, live_stage=live_stage
        )
        ends: tuple[Stage, ...] = (self._sender, self._receiver)
        self.stages = ends if live_stage is None else (*ends, live_stage)

    def start(self) -> None:
        """Start the stages at the ends of the pipes."""
        for stage in reversed(self.stages):
            stage.start()

    def statuses(self) -> tuple[StageStatus, ...]:
        """Return the reported status of both stages, of the process and of the sender."""
        return (*self._receiver.statuses, self._sender.status)

    def stats(self) -> tuple[ChannelStats, ...]:
        """Return both pipes, the signal channel as the process counted it at its end, and the live channel."""
        sender, receiver, summary = self._sender, self._receiver, self._process.summary
        ticks, records = (summary.ticks, summary.records) if summary else (receiver.acknowledged, receiver.received)
        inside = summary.signal_channel if summary else (0, 0, 0, 0, 0, 0)
        sent, received, dropped, depth, max_depth, blocked = inside
        stats = (
            self._pipe_stats("pipe_ticks", sender.sent, ticks),
            self._signal.stats()._replace(
                sent=sent, received=received, dropped=dropped, depth=depth, max_depth=max_depth, blocked=blocked
            ),
            self._pipe_stats("pipe_records", records, receiver.received),
        )
        return stats if self._live_stage is None else (*stats, self._live_stage.stats())

    def _pipe_stats(self, name: str, sent: int, received: int) -> ChannelStats:
        return ChannelStats(name, self._window, OnFull.BLOCK, sent, received, 0, sent - received, 0, 0)

    def denied(self) -> tuple[Denied, ...]:
        """Return what the kernel reported and, at the end, what the audit hook counted."""
        return self._process.child.denied()

    def account(self) -> AccountSnapshot | None:
        """Return the account of the process's summary, or None if it ended without one."""
        return self._process.summary.account if self._process.summary else None

    def close_out(self, timeout_s: float) -> IsolationEvidence:
        """Read the sandbox back a last time, end the process and return the evidence."""
        if self._live_stage is not None:
            # Even after a failure the stage may still be sending cancels.
            self._live_stage.wait_for_end(timeout_s)
        return self._process.close_out(timeout_s)
