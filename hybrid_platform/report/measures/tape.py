"""What a session decided and what came of it, read once from its tables into compact columns.

in: a reading engine and a session · out: a `Tape`: the exact account, and columns of orders and fills for
numpy. It holds about a hundred bytes for each order and each fill, whatever the number of ticks.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from hybrid_platform.domain.exact import MONEY
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import (
    OrderEventRecord,
    OrderRecord,
    OrderStatus,
    OrderType,
    Side,
    SignalRecord,
    TradeRecord,
    VetoRecord,
)
from hybrid_platform.report.measures.round_trips import RoundTripBook
from hybrid_platform.storage.queries import limit_arrivals
from hybrid_platform.storage.stored import stored_instruments, stored_records, stored_rows
from hybrid_platform.trading.accounts import Account

ZERO = Decimal(0)
NEVER = -1
_ENDED = frozenset({"CANCELED", "EXPIRED", "REJECTED"})


class Tape:
    """Orders and fills as parallel columns; times are session-clock nanoseconds, `NEVER` where it did not happen."""

    def __init__(self, engine: sa.Engine, session_id: str, usd_rates: Mapping[str, Decimal]) -> None:
        self.instruments = stored_instruments(engine, session_id)
        self._places = {item.key: place for place, item in enumerate(self.instruments)}
        self._rates = usd_rates
        self.account = Account(lambda venue, symbol: self.instruments[self._places[venue, symbol]])
        self._orders: dict[str, int] = {}
        self.signals = 0
        self.order: dict[str, Any] = {name: array(kind) for name, kind in _ORDER.items()}
        self.fill: dict[str, Any] = {name: array(kind) for name, kind in _FILL.items()}
        self.vetoes: Counter[str] = Counter()
        self.rejects: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.trip_pnl: list[float] = []
        self.trip_ns: list[int] = []
        self.volume = ZERO
        self.fees = ZERO
        self._read_orders(engine, session_id)
        self._read_fills(engine, session_id)
        self._read_events(engine, session_id)
        self.vetoes.update(reason for *_, reason, _, _ in stored_rows(engine, session_id, VetoRecord))

    def rate(self, instrument: Instrument) -> Decimal:
        """Return USD for one unit of an instrument's quote currency; 0 where none was stated, and none traded."""
        return self._rates.get(instrument.quote, ZERO)

    def _read_orders(self, engine: sa.Engine, session_id: str) -> None:
        made: dict[str, int] = {}
        for _, signal_id, *_, ts in stored_rows(engine, session_id, SignalRecord):
            self.signals += 1
            made[signal_id] = ts
        arrivals = limit_arrivals(engine, session_id)
        for row in stored_records(engine, session_id, OrderRecord):
            self._orders[row.order_id] = len(self._orders)
            self.ends[row.status.value] += 1
            instrument = self._places[row.venue, row.symbol]
            arrival = row.price if row.type is OrderType.MARKET else arrivals.get(row.order_id)
            self._add(
                self.order,
                instrument=instrument,
                side=1 if row.side is Side.BUY else -1,
                unit=float(self._unit(instrument)),
                qty=float(row.qty),
                left=float(row.qty),
                arrival=float(arrival or 0),
                seq=row.seq,
                ts=row.ts,
                signal_ts=made.get(row.signal_id, row.ts),
                accepted=NEVER,
                first_fill=NEVER,
                last_fill=NEVER,
                end=NEVER,
                is_filled=row.status is OrderStatus.FILLED,
            )

    def _read_fills(self, engine: sa.Engine, session_id: str) -> None:
        book = RoundTripBook()
        cash_usd = ZERO
        for trade in stored_records(engine, session_id, TradeRecord):
            if not self.account.apply(trade):
                continue
            instrument = self._places[trade.venue, trade.symbol]
            item = self.instruments[instrument]
            unit, rate = self._unit(instrument), self.rate(item)
            value = MONEY.multiply(MONEY.multiply(trade.fill_qty, trade.fill_price), unit)
            fees = MONEY.multiply(trade.fees, rate)
            paid = value if trade.side is Side.BUY else value.copy_negate()
            cash_usd = MONEY.subtract(cash_usd, MONEY.add(paid, fees))
            self.volume, self.fees = MONEY.add(self.volume, value), MONEY.add(self.fees, fees)
            place = self._orders.get(trade.order_id, NEVER)
            self._add(
                self.fill,
                order=place,
                instrument=instrument,
                side=1 if trade.side is Side.BUY else -1,
                qty=float(trade.fill_qty),
                price=float(trade.fill_price),
                value=float(value),
                ts=trade.ts,
                seq=self.order["seq"][place] if place != NEVER else 0,
                cash_usd=float(cash_usd),
                net=float(self.account.position(*item.key).net),
            )
            if place != NEVER:
                self.order["left"][place] = max(0.0, self.order["left"][place] - float(trade.fill_qty))
                if self.order["first_fill"][place] == NEVER:
                    self.order["first_fill"][place] = trade.ts
                self.order["last_fill"][place] = trade.ts
            trip = book.apply(trade, item)
            if trip is not None:
                self.trip_pnl.append(float(MONEY.multiply(trip.pnl, rate)))
                self.trip_ns.append(trip.closed_at - trip.opened_at)
        self.open_trips = book.open

    def _read_events(self, engine: sa.Engine, session_id: str) -> None:
        # Rows as they stand: there are several for each order, and half of each is not needed.
        for _, order_id, status, reason, ts in stored_rows(engine, session_id, OrderEventRecord):
            place = self._orders.get(order_id)
            if place is None:
                continue
            if status == OrderStatus.ACCEPTED:
                self.order["accepted"][place] = ts
            elif status in _ENDED:
                self.order["end"][place] = ts
                if status == OrderStatus.REJECTED:
                    self.rejects[reason] += 1

    def _unit(self, instrument: int) -> Decimal:
        """Return USD for quantity 1 at price 1."""
        item = self.instruments[instrument]
        return MONEY.multiply(item.multiplier, self.rate(item))

    @staticmethod
    def _add(columns: dict[str, Any], **values: float) -> None:
        for name, value in values.items():
            columns[name].append(value)


_ORDER = {
    "instrument": "q", "side": "d", "unit": "d", "qty": "d", "left": "d", "arrival": "d", "seq": "q", "ts": "q",
    "signal_ts": "q", "accepted": "q", "first_fill": "q", "last_fill": "q", "end": "q", "is_filled": "b",
}  # fmt: skip
"""``unit``: USD for quantity 1 at price 1; ``left``: what was never filled; ``arrival``: 0 where it is not known."""
_FILL = {
    "order": "q", "instrument": "q", "side": "d", "qty": "d", "price": "d", "value": "d", "ts": "q", "seq": "q",
    "cash_usd": "d", "net": "d",
}  # fmt: skip
"""``value``, ``cash_usd``: USD, the latter of all instruments after the fill; ``net``: the position after it."""
