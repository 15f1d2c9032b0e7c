"""execution: asks the risk engine, then its adapter; every decision becomes audit records (S7, S9, I1, I2).

in: `StepMessage` and commands · out: `RecordMessage`, into the reserve of the persist channel where nothing is
evicted · when even that is full: the session ends with OVERLOAD, so that no decision goes unrecorded.
It never waits for disk (I6); only a lossless replay may hold it back.
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
    """Where decisions go: towards the persist channel, at once or over the guarded process's pipe."""

    def send(self, message: RecordMessage, *, guaranteed: bool = True) -> int:
        """Pass records on."""

    def close(self) -> None:
        """Say that the last record was put."""


class ExecutionStage(Stage):
    """Owns the trading engine: risk, orders, adapter, account."""

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
        """``on_requests``: takes what a live venue is to be told, after the records of it."""
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
        """Decide until the steps end; then close what rests."""
        while True:
            self.progress.mark_idle()
            try:
                messages = self._signals.receive()
            except EndOfStream:
                self.progress.mark_busy()
                self._hand_on(self._engine.finish())
                return
            self.progress.mark_busy()
            for message in messages:
                self._hand_on(self._obey(message) if isinstance(message, ControlMessage) else self._decide(message))

    def _decide(self, message: StepMessage) -> list[Record]:
        step = message.step
        if len(step.ticks):
            self._seq = int(step.ticks.seq[-1])
            self._now = int(step.ticks.ts_recv[-1])
        return self._engine.on_step(step, self._clock.wall_ns() if self._live else None)

    def _obey(self, message: ControlMessage) -> list[Record]:
        # The session clock moves with recorded inputs; in a replay a command comes at the time of the last tick.
        now = max(self._now, self._clock.wall_ns()) if self._live else self._now
        if isinstance(message.content, Report):
            return self._engine.on_report(message.content, self._seq, now)
        return self._engine.on_command(message.content, self._seq, now)

    def _hand_on(self, records: list[Record]) -> None:
        if records:
            self._decisions.send(RecordMessage(tuple(records)), guaranteed=True)
        if self._on_requests is not None and (requests := self._engine.drain_requests()):
            self._on_requests(requests)
