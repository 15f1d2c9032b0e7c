"""What a session decided and what came of it, read from its tables in step with its prices.

in: a reading engine and a session · out: a `Tape`: the exact account and exact sums, samples for quantiles, and
the fills as they come. It holds the orders that are open, and the last `LATE` that ended with a rest:
memory does not grow with the orders and fills of a session.
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
from hybrid_platform.report.measures.execution import CostTally
from hybrid_platform.report.measures.records import Latency
from hybrid_platform.report.measures.round_trips import RoundTripBook, TripTally
from hybrid_platform.report.measures.sample import Sample
from hybrid_platform.storage.queries import count_rows
from hybrid_platform.storage.reader import read_instruments, read_order_origins, read_records, read_rows
from hybrid_platform.trading.accounts import Account

ZERO = Decimal(0)
LATE = 4_096
"""Orders that ended with a rest and are remembered: a fill that comes late still makes it smaller."""
_FILLS = frozenset({"PARTIALLY_FILLED", "FILLED"})
_ENDED = frozenset({"CANCELED", "EXPIRED", "REJECTED"})

Columns = dict[str, npt.NDArray[Any]]


class Working:
    """An order that is open, or that ended with a rest; times are session-clock ns, None where it did not happen."""

    __slots__ = ("arrival", "end", "instrument", "is_accepted", "last_fill", "left", "price_at_end", "row", "unit")

    def __init__(self, row: OrderRecord, instrument: int, unit: Decimal, arrival: Decimal | None) -> None:
        self.row, self.instrument = row, instrument
        self.unit, self.arrival = float(unit), float(arrival or 0)
        """USD for quantity 1 at price 1; the arrival price, 0 where it is not known."""
        self.left = row.qty
        self.is_accepted = False
        self.last_fill: int | None = None
        self.end: int | None = None
        self.price_at_end: float | None = None
        """The last price of its instrument when it ended; NaN where none came before."""

    @property
    def side(self) -> int:
        """1 BUY, −1 SELL."""
        return 1 if self.row.side is Side.BUY else -1


class Tape:
    """Goes once through a session's events: `advance` with the prices, `take_fills` and `take_ended`, then `finish`."""

    def __init__(self, engine: sa.Engine, session_id: str, usd_rates: Mapping[str, Decimal]) -> None:
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
        self.trips, self.cost = TripTally(), CostTally()
        self._waits = {name: Sample() for name in Latency.__struct_fields__}
        self._book = RoundTripBook()
        self._working: dict[str, Working] = {}
        self._late: OrderedDict[str, Working] = OrderedDict()
        self._ended: list[Working] = []
        self._fills = _no_fills()
        self._orders = zip(
            read_records(engine, session_id, OrderRecord), read_order_origins(engine, session_id), strict=True
        )
        self._trades = read_records(engine, session_id, TradeRecord)
        self._events: Iterator[tuple[Any, ...]] = read_rows(engine, session_id, OrderEventRecord)
        self._next = next(self._events, None)
        self.vetoes.update(reason for *_, reason, _, _ in read_rows(engine, session_id, VetoRecord))

    def rate(self, instrument: Instrument) -> Decimal:
        """Return USD for one unit of an instrument's quote currency; 0 where none was stated, and none traded."""
        return self._rates.get(instrument.quote, ZERO)

    def advance(self, until: int) -> None:
        """Take what happened up to an instant of the session clock (ns)."""
        while self._next is not None and self._next[4] <= until:
            self._take(*self._next[1:])
            self._next = next(self._events, None)

    def finish(self) -> None:
        """Take all that is left; rows that no event spoke of too."""
        while self._next is not None:
            self._take(*self._next[1:])
            self._next = next(self._events, None)
        while self._open_next():
            pass
        while self._fill_next():
            pass

    def settle(self, price_of: Mapping[int, float]) -> None:
        """Count what was never filled, once all is taken; ``price_of`` an instrument where an order has none yet."""
        for working in (*self._working.values(), *self._late.values()):
            if working.price_at_end is None:
                working.price_at_end = price_of.get(working.instrument)
            self._close(working)
        self._working.clear()
        self._late.clear()

    def take_fills(self) -> Columns:
        """Return the fills since the last call, as columns (see `_FILL`)."""
        taken, self._fills = self._fills, _no_fills()
        return {name: np.array(column) for name, column in taken.items()}

    def take_ended(self) -> list[Working]:
        """Return the orders that ended with a rest since the last call; their price at that instant is to be set."""
        taken, self._ended = self._ended, []
        return taken

    @property
    def first_fill_ms(self) -> Sample:
        """From order to first fill, of every order that has one."""
        return self._waits["order_to_first_fill"]

    @property
    def open_trips(self) -> int:
        """Positions that are open."""
        return self._book.open

    def latency(self) -> Latency:
        """Return the waits of all orders."""
        return Latency(**{name: sample.quantiles() for name, sample in self._waits.items()})

    def _take(self, order_id: str, status: str, reason: str, ts: int) -> None:
        if status == OrderStatus.INITIALIZED:
            self._open_next()
            return
        if status in _FILLS:
            self._fill_next()
        working = self._working.get(order_id) or self._late.get(order_id)
        if status == OrderStatus.REJECTED and working is not None:
            self.rejects[reason] += 1
        if working is None:
            return
        if status == OrderStatus.ACCEPTED and not working.is_accepted:
            working.is_accepted = True
            self._wait("order_to_accepted", working, ts)
        elif status in _ENDED:
            working.end, working.price_at_end = ts, None
            self._move_on(order_id, working)

    def _open_next(self) -> bool:
        found = next(self._orders, None)
        if found is None:
            return False
        row, origin = found
        self.orders += 1
        self.ends[row.status.value] += 1
        instrument = self._places[row.venue, row.symbol]
        arrival = row.price if row.type is OrderType.MARKET else origin.limit_arrival
        working = Working(row, instrument, self._unit(instrument), arrival)
        self._working[row.order_id] = working
        signal_ts = row.ts if origin.signal_ts is None else origin.signal_ts
        self._waits["signal_to_order"].add((row.ts - signal_ts) / NS_PER_MS)
        if working.arrival > 0:
            self.cost.order(float(row.qty) * working.arrival * working.unit)
        return True

    def _fill_next(self) -> bool:
        trade = next(self._trades, None)
        if trade is None:
            return False
        if not self.account.apply(trade):
            return True
        instrument = self._places[trade.venue, trade.symbol]
        item = self.instruments[instrument]
        unit, rate = self._unit(instrument), self.rate(item)
        value = MONEY.multiply(MONEY.multiply(trade.fill_qty, trade.fill_price), unit)
        fees = MONEY.multiply(trade.fees, rate)
        paid = value if trade.side is Side.BUY else value.copy_negate()
        self._cash_usd = MONEY.subtract(self._cash_usd, MONEY.add(paid, fees))
        self.volume, self.fees = MONEY.add(self.volume, value), MONEY.add(self.fees, fees)
        self.fills += 1
        side, qty = 1 if trade.side is Side.BUY else -1, float(trade.fill_qty)
        working = self._working.get(trade.order_id) or self._late.get(trade.order_id)
        net = float(self.account.position(*item.key).net)
        seq = working.row.seq if working else 0
        columns = (instrument, side, qty, float(trade.fill_price), trade.ts, seq, float(self._cash_usd), net)
        for column, of in zip(self._fills.values(), columns, strict=True):
            column.append(of)
        trip = self._book.apply(trade, item)
        if trip is not None:
            self.trips.add(float(MONEY.multiply(trip.pnl, rate)), trip.closed_at - trip.opened_at)
        if working is None or not working.arrival:
            self.cost.fill_without_arrival()
        else:
            self.cost.fill(side, float(value), qty * working.arrival * working.unit)
        if working is not None:
            self._note_fill(working, trade)
        return True

    def _note_fill(self, working: Working, trade: TradeRecord) -> None:
        working.left = max(ZERO, MONEY.subtract(working.left, trade.fill_qty))
        if working.last_fill is None:
            self._wait("order_to_first_fill", working, trade.ts)
        working.last_fill = trade.ts
        if not working.left:
            self._working.pop(trade.order_id, None)
            self._late.pop(trade.order_id, None)
            self._close(working)

    def _move_on(self, order_id: str, working: Working) -> None:
        """Keep an order that ended with a rest, until its price at that instant is known and many have followed."""
        self._working.pop(order_id, None)
        self._late[order_id] = working
        self._late.move_to_end(order_id)
        self._ended.append(working)
        while len(self._late) > LATE and next(iter(self._late.values())).price_at_end is not None:
            self._close(self._late.popitem(last=False)[1])

    def _close(self, working: Working) -> None:
        """Count an order of which nothing more is to come."""
        if working.last_fill is not None and working.row.status is OrderStatus.FILLED:
            self._wait("order_to_last_fill", working, working.last_fill)
        if working.left and working.arrival > 0:
            price = working.price_at_end
            # A rest whose end has no price (nothing came before it) missed nothing.
            at_end = working.arrival if price is None or isnan(price) else price
            left = float(working.left) * working.unit
            self.cost.rest(working.side, left * working.arrival, left * at_end)

    def _wait(self, name: str, working: Working, until: int) -> None:
        self._waits[name].add((until - working.row.ts) / NS_PER_MS)

    def _unit(self, instrument: int) -> Decimal:
        """Return USD for quantity 1 at price 1."""
        item = self.instruments[instrument]
        return MONEY.multiply(item.multiplier, self.rate(item))


_FILL = {"instrument": "q", "side": "q", "qty": "d", "price": "d", "ts": "q", "seq": "q", "cash_usd": "d", "net": "d"}
"""``cash_usd``: USD, of all instruments after the fill; ``net``: the position after it; ``seq``: its order's tick."""


def _no_fills() -> dict[str, Any]:
    return {name: array(kind) for name, kind in _FILL.items()}
