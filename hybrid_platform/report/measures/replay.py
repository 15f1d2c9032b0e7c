"""Replay of a session's decisions and their outcome from its tables, in step with its prices.

in: a reading engine and a session · out: the exact account, exact sums, samples for quantiles, and the fills in
order. Memory is bounded: the replay holds the open orders and the last `MAX_ENDED_ORDERS` that ended unfilled.
"""

from __future__ import annotations

from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from math import isnan
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from hybrid_platform.domain.clocks import NS_PER_MS
from hybrid_platform.domain.decimals import MONEY
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import (
    OrderEventRecord,
    OrderRecord,
    OrderStatus,
    OrderType,
    Side,
    TradeRecord,
    VetoRecord,
)
from hybrid_platform.report.measures.costs import CostTally
from hybrid_platform.report.measures.records import Latency
from hybrid_platform.report.measures.round_trips import RoundTripBook, RoundTripTally
from hybrid_platform.report.measures.sample import Sample
from hybrid_platform.storage.queries import count_rows
from hybrid_platform.storage.reader import read_instruments, read_order_origins, read_records, read_rows
from hybrid_platform.trading.accounts import Account

ZERO = Decimal(0)
MAX_ENDED_ORDERS = 4_096
"""Orders that ended with an unfilled rest and are remembered, because a late fill still reduces the rest."""
_FILLS = frozenset({"PARTIALLY_FILLED", "FILLED"})
_ENDED = frozenset({"CANCELED", "EXPIRED", "REJECTED"})

Columns = dict[str, npt.NDArray[Any]]


class TrackedOrder:
    """An open order, or one that ended with an unfilled rest; times are session-clock ns, or None."""

    __slots__ = ("arrival", "end", "instrument", "is_accepted", "last_fill", "price_at_end", "remaining", "row", "unit")

    def __init__(self, row: OrderRecord, instrument: int, unit: Decimal, arrival: Decimal | None) -> None:
        self.row, self.instrument = row, instrument
        self.unit, self.arrival = float(unit), float(arrival or 0)
        """``unit``: USD for quantity 1 at price 1; ``arrival``: the arrival price, 0 if unknown."""
        self.remaining = row.qty
        self.is_accepted = False
        self.last_fill: int | None = None
        self.end: int | None = None
        self.price_at_end: float | None = None
        """Last price of the instrument when the order ended; NaN without an earlier price."""

    @property
    def side(self) -> int:
        """1 for BUY, −1 for SELL."""
        return 1 if self.row.side is Side.BUY else -1


class SessionReplay:
    """One pass over the events of a session: `advance` with the prices, drain fills and ended orders, then `finish`."""

    def __init__(
        self,
        engine: sa.Engine,
        session_id: str,
        usd_rates: Mapping[str, Decimal],
        *,
        max_ended_orders: int = MAX_ENDED_ORDERS,
    ) -> None:
        self._max_ended_orders = max_ended_orders
        self.instruments = read_instruments(engine, session_id)
        self._places = {item.key: place for place, item in enumerate(self.instruments)}
        self._rates = usd_rates
        self.account = Account(lambda venue, symbol: self.instruments[self._places[venue, symbol]])
        self.signals = count_rows(engine, session_id)["signals"]
        self.orders = self.fills = 0
        self.vetoes: Counter[str] = Counter()
        self.rejects: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.volume = self.fees = self._cash_usd = ZERO
        self.round_trips, self.costs = RoundTripTally(), CostTally()
        self._waits = {name: Sample() for name in Latency.__struct_fields__}
        self._book = RoundTripBook()
        self._open_orders: dict[str, TrackedOrder] = {}
        self._ended_orders: OrderedDict[str, TrackedOrder] = OrderedDict()
        self._unpriced_orders: list[TrackedOrder] = []
        self._fills = _empty_fills()
        self._orders = zip(
            read_records(engine, session_id, OrderRecord), read_order_origins(engine, session_id), strict=True
        )
        self._trades = read_records(engine, session_id, TradeRecord)
        self._events: Iterator[tuple[Any, ...]] = read_rows(engine, session_id, OrderEventRecord)
        self._next = next(self._events, None)
        self.vetoes.update(reason for *_, reason, _, _ in read_rows(engine, session_id, VetoRecord))

    def usd_rate(self, instrument: Instrument) -> Decimal:
        """Return USD for one unit of an instrument's quote currency; 0 without a stated rate."""
        return self._rates.get(instrument.quote, ZERO)

    def advance(self, until: int) -> None:
        """Apply the events up to an instant of the session clock (ns)."""
        while self._next is not None and self._next[4] <= until:
            self._apply(*self._next[1:])
            self._next = next(self._events, None)

    def finish(self) -> None:
        """Apply all remaining events, and rows without an event."""
        while self._next is not None:
            self._apply(*self._next[1:])
            self._next = next(self._events, None)
        while self._open_next_order():
            pass
        while self._apply_next_fill():
            pass

    def settle(self, last_prices: Mapping[int, float]) -> None:
        """Add the unfilled quantity of all orders, after `finish`.

        ``last_prices`` apply to orders that have no price at their end yet.
        """
        for order in (*self._open_orders.values(), *self._ended_orders.values()):
            if order.price_at_end is None:
                order.price_at_end = last_prices.get(order.instrument)
            self._close(order)
        self._open_orders.clear()
        self._ended_orders.clear()

    def drain_fills(self) -> Columns:
        """Return the fills since the last call as columns (see `_FILL`)."""
        taken, self._fills = self._fills, _empty_fills()
        return {name: np.array(column) for name, column in taken.items()}

    def drain_ended_orders(self) -> list[TrackedOrder]:
        """Return the orders that ended unfilled since the last call; the caller sets their price at that instant."""
        taken, self._unpriced_orders = self._unpriced_orders, []
        return taken

    @property
    def first_fill_ms(self) -> Sample:
        """Times from order to first fill."""
        return self._waits["order_to_first_fill"]

    @property
    def open_round_trips(self) -> int:
        """Number of open positions."""
        return self._book.open_count

    def summarize_latency(self) -> Latency:
        """Return the latency of all orders."""
        return Latency(**{name: sample.quantiles() for name, sample in self._waits.items()})

    def _apply(self, order_id: str, status: str, reason: str, ts: int) -> None:
        if status == OrderStatus.INITIALIZED:
            self._open_next_order()
            return
        if status in _FILLS:
            self._apply_next_fill()
        order = self._open_orders.get(order_id) or self._ended_orders.get(order_id)
        if status == OrderStatus.REJECTED and order is not None:
            self.rejects[reason] += 1
        if order is None:
            return
        if status == OrderStatus.ACCEPTED and not order.is_accepted:
            order.is_accepted = True
            self._wait("order_to_accepted", order, ts)
        elif status in _ENDED:
            order.end, order.price_at_end = ts, None
            self._keep_ended(order_id, order)

    def _open_next_order(self) -> bool:
        found = next(self._orders, None)
        if found is None:
            return False
        row, origin = found
        self.orders += 1
        self.ends[row.status.value] += 1
        instrument = self._places[row.venue, row.symbol]
        arrival = row.price if row.type is OrderType.MARKET else origin.limit_arrival
        order = TrackedOrder(row, instrument, self._usd_per_unit(instrument), arrival)
        self._open_orders[row.order_id] = order
        signal_ts = row.ts if origin.signal_ts is None else origin.signal_ts
        self._waits["signal_to_order"].add((row.ts - signal_ts) / NS_PER_MS)
        if order.arrival > 0:
            self.costs.add_order(float(row.qty) * order.arrival * order.unit)
        return True

    def _apply_next_fill(self) -> bool:
        trade = next(self._trades, None)
        if trade is None:
            return False
        if not self.account.apply(trade):
            return True
        instrument = self._places[trade.venue, trade.symbol]
        item = self.instruments[instrument]
        unit, rate = self._usd_per_unit(instrument), self.usd_rate(item)
        value = MONEY.multiply(MONEY.multiply(trade.fill_qty, trade.fill_price), unit)
        fees = MONEY.multiply(trade.fees, rate)
        paid = value if trade.side is Side.BUY else value.copy_negate()
        self._cash_usd = MONEY.subtract(self._cash_usd, MONEY.add(paid, fees))
        self.volume, self.fees = MONEY.add(self.volume, value), MONEY.add(self.fees, fees)
        self.fills += 1
        side, qty = 1 if trade.side is Side.BUY else -1, float(trade.fill_qty)
        order = self._open_orders.get(trade.order_id) or self._ended_orders.get(trade.order_id)
        net = float(self.account.position(*item.key).net)
        seq = order.row.seq if order else 0
        columns = (instrument, side, qty, float(trade.fill_price), trade.ts, seq, float(self._cash_usd), net)
        for column, of in zip(self._fills.values(), columns, strict=True):
            column.append(of)
        trip = self._book.apply(trade, item)
        if trip is not None:
            self.round_trips.add(float(MONEY.multiply(trip.pnl, rate)), trip.closed_at - trip.opened_at)
        if order is None or not order.arrival:
            self.costs.add_fill_without_arrival()
        else:
            self.costs.add_fill(side, float(value), qty * order.arrival * order.unit)
        if order is not None:
            self._record_fill(order, trade)
        return True

    def _record_fill(self, order: TrackedOrder, trade: TradeRecord) -> None:
        order.remaining = max(ZERO, MONEY.subtract(order.remaining, trade.fill_qty))
        if order.last_fill is None:
            self._wait("order_to_first_fill", order, trade.ts)
        order.last_fill = trade.ts
        if not order.remaining:
            self._open_orders.pop(trade.order_id, None)
            self._ended_orders.pop(trade.order_id, None)
            self._close(order)

    def _keep_ended(self, order_id: str, order: TrackedOrder) -> None:
        """Keep an order that ended unfilled until its price is known and `max_ended_orders` have followed."""
        self._open_orders.pop(order_id, None)
        self._ended_orders[order_id] = order
        self._ended_orders.move_to_end(order_id)
        self._unpriced_orders.append(order)
        while (
            len(self._ended_orders) > self._max_ended_orders
            and next(iter(self._ended_orders.values())).price_at_end is not None
        ):
            self._close(self._ended_orders.popitem(last=False)[1])

    def _close(self, order: TrackedOrder) -> None:
        """Add the figures of an order that has no further events."""
        if order.last_fill is not None and order.row.status is OrderStatus.FILLED:
            self._wait("order_to_last_fill", order, order.last_fill)
        if order.remaining and order.arrival > 0:
            price = order.price_at_end
            # Without a price at its end (no tick came before), the rest missed nothing.
            at_end = order.arrival if price is None or isnan(price) else price
            rest = float(order.remaining) * order.unit
            self.costs.add_unfilled(order.side, rest * order.arrival, rest * at_end)

    def _wait(self, name: str, order: TrackedOrder, until: int) -> None:
        self._waits[name].add((until - order.row.ts) / NS_PER_MS)

    def _usd_per_unit(self, instrument: int) -> Decimal:
        """Return USD for quantity 1 at price 1."""
        item = self.instruments[instrument]
        return MONEY.multiply(item.multiplier, self.usd_rate(item))


_FILL = {"instrument": "q", "side": "q", "qty": "d", "price": "d", "ts": "q", "seq": "q", "cash_usd": "d", "net": "d"}
"""``cash_usd``: of all instruments after the fill; ``net``: the position after it; ``seq``: the tick of its order."""


def _empty_fills() -> dict[str, Any]:
    return {name: array(kind) for name, kind in _FILL.items()}
