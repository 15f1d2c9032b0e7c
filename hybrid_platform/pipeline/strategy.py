"""strategy: shows every tick to the strategy, in order, and hands on what it wants (S8).

in: `Ticks` · out: `Steps` (the ticks ride along, execution needs them for marks and fills) · when the
signal channel is full: FAIL ends the session with OVERLOAD, BLOCK waits · a strategy that raises, or
returns what is no signal, ends the session as a CRASH that names it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.log import Log
from hybrid_platform.domain.orders import Side, Signal
from hybrid_platform.domain.steps import Step
from hybrid_platform.pipeline.channel import Channel, EndOfStream
from hybrid_platform.pipeline.counters import StrategyCounters
from hybrid_platform.pipeline.parcels import Steps, Ticks
from hybrid_platform.pipeline.stage import OnFailure, Stage
from hybrid_platform.safety.logs import RateLimit
from hybrid_platform.strategies.runner import StrategyRunner

SIGNAL = "signal generated"
IDLE_SECONDS = 0.25
LIVE_TAKE = 64
"""Live, a slow strategy works on few ticks at a time, so that what waits behind it stays fresh."""


class SignalsDigest:
    """Counts signals by side, and hashes the lines ``seq,SIDE`` in order: two runs compare by it (S8)."""

    def __init__(self) -> None:
        self.count = 0
        self.buy = 0
        self._sha256 = hashlib.sha256()

    def add(self, signal: Signal) -> None:
        """Take one more signal."""
        self.count += 1
        self.buy += signal.side is Side.BUY
        self._sha256.update(f"{signal.seq},{signal.side.value}\n".encode())

    @property
    def sha256(self) -> str:
        """The digest so far, in hex."""
        return self._sha256.hexdigest()


class StrategyStage(Stage):
    """Owns the strategy."""

    def __init__(
        self,
        runner: StrategyRunner,
        ticks: Channel[Ticks],
        signals: Channel[Steps],
        *,
        last_seq: Callable[[], int],
        live: bool,
        counters: StrategyCounters,
        digest: SignalsDigest,
        clock: Clock,
        log: Log,
        limit: RateLimit,
        on_failure: OnFailure,
    ) -> None:
        """``last_seq``: the last number ingest gave, asked once the ticks ended."""
        super().__init__("strategy", (ticks,), (signals,), on_failure)
        self._runner = runner
        self._ticks = ticks
        self._signals = signals
        self._last_seq = last_seq
        self._live = live
        self._counters = counters
        self._digest = digest
        self._clock = clock
        self._log = log
        self._limit = limit

    def work(self) -> None:
        """Run until the ticks end; then journal the hole at the end, if there is one."""
        limit = LIVE_TAKE if self._live else None
        while True:
            try:
                parcels = self._ticks.take(limit, IDLE_SECONDS)
            except EndOfStream:
                self._hand_on(self._runner.on_end(self._last_seq()))
                return
            for parcel in parcels:
                self._hand_on(self._runner.on_batch(parcel.batch))
                self._counters.ticks += len(parcel.batch)
            if not parcels and self._live:
                self._hand_on(self._runner.on_idle(self._clock.wall_ns()))

    def _hand_on(self, steps: list[Step]) -> None:
        for step in steps:
            self._counters.signals += len(step.signals)
            self._signals.put(Steps(step))
            for signal in step.signals:
                self._digest.add(signal)
                if (suppressed := self._limit.admit(SIGNAL)) is not None:
                    self._log.info(
                        SIGNAL,
                        reason_code=signal.reason,
                        tick_count=signal.seq,
                        signal_id=signal.signal_id,
                        symbol=signal.instrument.symbol,
                        side=signal.side,
                        size=signal.size,
                        **suppressed,
                    )
