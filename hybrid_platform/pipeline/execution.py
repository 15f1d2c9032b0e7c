"""execution: asks the risk engine, then its adapter; every decision becomes audit records (S7, S9, I1, I2).

in: `Steps` · out: `Records` on the persist channel, into the reserve where nothing is evicted · when
even that is full: the session ends with OVERLOAD, so that no decision goes unrecorded. It never waits
for disk (I6); only a lossless replay may hold it back.
"""

from __future__ import annotations

from collections.abc import Iterable

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.log import Log
from hybrid_platform.domain.orders import OrderRecord, Record, VetoRecord
from hybrid_platform.domain.steps import Step
from hybrid_platform.pipeline.channel import Channel, EndOfStream
from hybrid_platform.pipeline.counters import ExecutionCounters
from hybrid_platform.pipeline.parcels import Records, Steps, Ticks
from hybrid_platform.pipeline.stage import OnFailure, Stage
from hybrid_platform.safety.logs import RateLimit
from hybrid_platform.trading.engine import ExecutionEngine

ORDER = "shadow order executed (I1: no network call)"
VETO = "signal vetoed"


class ExecutionStage(Stage):
    """Owns the trading engine: risk, orders, adapter, account."""

    def __init__(
        self,
        engine: ExecutionEngine,
        signals: Channel[Steps],
        persist: Channel[Ticks | Records],
        *,
        mode: str,
        live: bool,
        counters: ExecutionCounters,
        clock: Clock,
        log: Log,
        limit: RateLimit,
        on_failure: OnFailure,
    ) -> None:
        super().__init__("execution", (signals,), (persist,), on_failure)
        self._engine = engine
        self._signals = signals
        self._persist = persist
        self._mode = mode
        self._live = live
        self._counters = counters
        self._clock = clock
        self._log = log
        self._limit = limit

    def work(self) -> None:
        """Decide until the steps end; then close what rests."""
        self._log.info("execution task started (shadow adapter, NO NETWORK)", mode=self._mode)
        while True:
            try:
                parcels = self._signals.take()
            except EndOfStream:
                self._hand_on(self._engine.finish())
                return
            for parcel in parcels:
                self._decide(parcel.step)

    def _decide(self, step: Step) -> None:
        if not self._live:
            self._hand_on(self._engine.on_step(step))
            return
        self._hand_on(self._engine.on_step(step, self._clock.wall_ns()))
        if step.signals:
            self._counters.decision_ns.append(self._clock.wall_ns() - int(step.signals[-1].ts))

    def _hand_on(self, records: list[Record]) -> None:
        if not records:
            return
        self._persist.put(Records(tuple(records)), keep=True)
        trading = self._engine.counters
        self._counters.signals = trading.signals
        self._counters.shadow_orders = trading.orders
        self._counters.trades = trading.trades
        self._counters.risk_vetoes = trading.vetoes
        self._say(records)

    def _say(self, records: Iterable[Record]) -> None:
        for record in records:
            if isinstance(record, OrderRecord):
                if (suppressed := self._limit.admit(ORDER)) is not None:
                    self._log.info(
                        ORDER,
                        is_shadow=record.is_shadow,
                        order_id=record.order_id,
                        symbol=record.symbol,
                        side=record.side,
                        qty=record.qty,
                        price=record.price,
                        status=record.status,
                        **suppressed,
                    )
            elif isinstance(record, VetoRecord):
                self._counters.veto_reasons[record.reason] += 1
                if (suppressed := self._limit.admit(VETO)) is not None:
                    self._log.warning(
                        VETO,
                        reason=record.reason,
                        detail=record.detail,
                        signal_id=record.signal_id,
                        symbol=record.symbol,
                        **suppressed,
                    )
