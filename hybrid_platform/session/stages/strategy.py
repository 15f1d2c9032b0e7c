"""The strategy stage: shows every tick to the strategy, in order, and sends its signals to execution (S8).

in: `TickMessage` and `ControlMessage` · out: `StepMessage`, with the ticks, which execution needs for prices and
fills · when the signal channel is full: FAIL ends the session with OVERLOAD, BLOCK waits · a strategy that
raises, or returns anything but signals, ends the session as a CRASH that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.orders import DecisionStep
from hybrid_platform.session.channel import Channel, EndOfStream
from hybrid_platform.session.messages import ControlMessage, StepMessage, TickMessage, coalesce, split_into_single
from hybrid_platform.session.stage import OnFailure, Stage, StageScope
from hybrid_platform.strategies.runner import StrategyRunner

IDLE_TIMEOUT_S = 0.25
LIVE_LIMIT, REPLAY_LIMIT = 64, 4_096
"""Events per receive. A slow live strategy takes few at a time, so that the ticks behind it stay fresh."""

YIELD_TO_EXECUTION_S = 0.05
"""How long a live strategy lets execution catch up before it takes more ticks, which can be dropped meanwhile."""

SLOW_NS = 1_000_000
"""Per tick. A live strategy that takes this long gets single ticks; a faster one gets the waiting ticks together."""


class TickSource(Protocol):
    """The source of ticks: the tick channel, or the pipe that continues it in the sandboxed process."""

    def receive(self, limit: int | None = None, timeout: float | None = None) -> list[TickMessage | ControlMessage]:
        """Return whatever is ready; raise EndOfStream at the end."""

    def abort(self) -> None:
        """Take no more."""


class StrategyStage(Stage):
    """Owns the strategy."""

    def __init__(
        self,
        runner: StrategyRunner,
        ticks: TickSource,
        signals: Channel[StepMessage | ControlMessage],
        *,
        last_seq: Callable[[], int],
        live: bool,
        clock: Clock,
        on_failure: OnFailure,
        scope: StageScope | None = None,
    ) -> None:
        """``last_seq`` returns the last number that ingest has assigned; it is called after the ticks have ended."""
        super().__init__("strategy", (ticks,), (signals,), on_failure, scope)
        self._runner = runner
        self._ticks = ticks
        self._signals = signals
        self._last_seq = last_seq
        self._live = live
        self._clock = clock
        self._is_slow = False

    @property
    def remaining(self) -> int:
        """Ticks of the current batch that the strategy has not seen, if it is shown single ticks."""
        return self._runner.ticks_remaining

    def work(self) -> None:
        """Run until the ticks end; then journal a hole at the end, if there is one."""
        limit = LIVE_LIMIT if self._live else REPLAY_LIMIT
        while True:
            self.progress.mark_idle()
            try:
                messages = self._ticks.receive(limit, IDLE_TIMEOUT_S)
            except EndOfStream:
                self.progress.mark_busy()
                self._send(self._runner.on_end(self._last_seq()))
                return
            self.progress.mark_busy()
            for message in split_into_single(messages) if self._live and self._is_slow else coalesce(messages):
                if isinstance(message, ControlMessage):
                    self._signals.send(message, guaranteed=True)
                else:
                    self._show(message)
            if not messages and self._live:
                self._send(self._runner.on_idle(self._clock.wall_ns()))

    def _show(self, ticks: TickMessage) -> None:
        if self._live:
            self._signals.wait_until_half_empty(YIELD_TO_EXECUTION_S)
        started = self._clock.monotonic_ns()
        self._send(self._runner.on_batch(ticks.batch))
        self._is_slow = self._clock.monotonic_ns() - started >= SLOW_NS * ticks.events

    def _send(self, steps: Iterable[DecisionStep]) -> None:
        for step in steps:
            self._signals.send(StepMessage(step))
