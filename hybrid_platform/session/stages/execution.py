"""The execution stage: risk engine, then adapter; every decision becomes audit records (S7, S9, I1, I2).

in: `StepMessage` and `ControlMessage` · out: `RecordMessage`, guaranteed: nothing of it is evicted · when even
the reserve is full, the session ends with OVERLOAD, so that no decision goes unrecorded. It never waits for
disk (I6), except in a lossless replay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.orders import Record
from hybrid_platform.session.channel import Channel, EndOfStream
from hybrid_platform.session.messages import ControlMessage, RecordMessage, StepMessage
from hybrid_platform.session.stage import OnFailure, Stage, StageScope
from hybrid_platform.trading.adapters.live import OrderRequest
from hybrid_platform.trading.engine import ExecutionEngine
from hybrid_platform.trading.order import Report


class RecordSink(Protocol):
    """The way of decisions to the persist channel: directly, or through the pipe of the sandboxed process."""

    def send(self, message: RecordMessage, *, guaranteed: bool = True) -> int:
        """Send records; return how many events were dropped."""

    def close(self) -> None:
        """Send nothing more."""


class ExecutionStage(Stage):
    """Owns the trading engine: risk, orders, adapter and account."""

    def __init__(
        self,
        engine: ExecutionEngine,
        signals: Channel[StepMessage | ControlMessage],
        decisions: RecordSink,
        *,
        live: bool,
        clock: Clock,
        on_failure: OnFailure,
        scope: StageScope | None = None,
        on_requests: Callable[[tuple[OrderRequest, ...]], None] | None = None,
    ) -> None:
        """``on_requests`` takes the order requests for a live venue, after their records were sent."""
        super().__init__("execution", (signals,), (decisions,), on_failure, scope)
        self._engine = engine
        self._signals = signals
        self._decisions = decisions
        self._live = live
        self._clock = clock
        self._on_requests = on_requests
        self._seq = 0
        self._now = 0

    def work(self) -> None:
        """Decide until the steps end; then close the open orders."""
        while True:
            self.progress.mark_idle()
            try:
                messages = self._signals.receive()
            except EndOfStream:
                self.progress.mark_busy()
                self._send(self._engine.finish())
                return
            self.progress.mark_busy()
            for message in messages:
                self._send(
                    self._handle_control(message) if isinstance(message, ControlMessage) else self._decide(message)
                )

    def _decide(self, message: StepMessage) -> list[Record]:
        step = message.step
        if len(step.ticks):
            self._seq = int(step.ticks.seq[-1])
            self._now = int(step.ticks.ts_recv[-1])
        return self._engine.on_step(step, self._clock.wall_ns() if self._live else None)

    def _handle_control(self, message: ControlMessage) -> list[Record]:
        # The session clock moves with recorded inputs only; in a replay a command has the time of the last tick.
        now = max(self._now, self._clock.wall_ns()) if self._live else self._now
        if isinstance(message.content, Report):
            return self._engine.on_report(message.content, self._seq, now)
        return self._engine.on_command(message.content, self._seq, now)

    def _send(self, records: list[Record]) -> None:
        if records:
            self._decisions.send(RecordMessage(tuple(records)), guaranteed=True)
        if self._on_requests is not None and (requests := self._engine.drain_requests()):
            self._on_requests(requests)
