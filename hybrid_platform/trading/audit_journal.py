"""The session's audit records as execution makes them, numbered and in order (S10)."""

from __future__ import annotations

from hybrid_platform.domain.ids import make_trade_id
from hybrid_platform.domain.orders import (
    InputKind,
    InputRecord,
    OrderEventRecord,
    OrderRecord,
    OrderStatus,
    Record,
    Signal,
    SignalRecord,
    TradeRecord,
    VetoReason,
    VetoRecord,
)
from hybrid_platform.trading.order import Fill, Order
from hybrid_platform.trading.states import Lifecycle


class AuditJournal:
    """Collects records until `drain`; each method adds one. Owned by the engine.

    Everything in SHADOW and PAPER is marked as shadow.
    """

    def __init__(self, *, is_shadow: bool = True) -> None:
        self._is_shadow = is_shadow
        self.records: list[Record] = []
        self.signals = 0
        self._events = 0
        self._trades = 0
        self._inputs = 0

    def drain(self) -> list[Record]:
        """Return the records since the last call."""
        records, self.records = self.records, []
        return records

    def signal(self, signal: Signal, signal_id: str) -> None:
        """Record a strategy's signal."""
        self.signals += 1
        item = signal.instrument
        self.records.append(
            SignalRecord(
                signal_id,
                signal.seq,
                item.venue,
                item.symbol,
                signal.side,
                signal.size,
                signal.confidence,
                signal.reason,
                signal.ts,
            )
        )

    def veto(self, signal: Signal, signal_id: str, reason: VetoReason, detail: str, ts: int) -> None:
        """Record that a signal became no order."""
        item = signal.instrument
        self.records.append(VetoRecord(signal_id, signal.seq, item.venue, item.symbol, reason, detail, ts))

    def event(self, order_id: str, status: OrderStatus, reason: str, ts: int) -> None:
        """Record one transition of an order."""
        self._events += 1
        self.records.append(OrderEventRecord(self._events, order_id, status, reason, ts))

    def lifecycle(self, order_id: str, lifecycle: Lifecycle, ts: int) -> None:
        """Record all transitions of an order that happened in one instant."""
        n, append = self._events, self.records.append
        for status, reason in lifecycle:
            n += 1
            append(OrderEventRecord(n, order_id, status, reason, ts))
        self._events = n

    def order(self, order: Order, status: OrderStatus) -> None:
        """Record an order with its status."""
        row = OrderRecord(
            order.order_id,
            order.signal_id,
            order.seq,
            order.instrument.venue,
            order.instrument.symbol,
            order.side,
            order.type,
            order.qty,
            order.reference_price if order.limit_price is None else order.limit_price,
            order.time_in_force,
            order.reduce_only,
            status,
            self._is_shadow,
            order.ts,
        )
        self.records.append(row)

    def trade(self, order: Order, fill: Fill, ts: int) -> TradeRecord:
        """Record one fill and return its row."""
        self._trades += 1
        row = TradeRecord(
            self._trades,
            make_trade_id(order.order_id, fill.number),
            order.order_id,
            order.instrument.venue,
            order.instrument.symbol,
            order.side,
            fill.qty,
            fill.price,
            fill.fees,
            self._is_shadow,
            ts,
        )
        self.records.append(row)
        return row

    def entry(self, after_seq: int, kind: InputKind, ts: int, detail: str) -> None:
        """Record an input other than a tick that changed a decision."""
        self._inputs += 1
        self.records.append(InputRecord(self._inputs, after_seq, kind, ts, detail))
