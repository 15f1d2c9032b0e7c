"""Audit a session's trading from its rows alone: the account again, the caps at every approval, fills and orders.

in: orders, order events and trades, read in step · out: a `TradingAudit`, whose figures postflight holds
against the running engine's and against the limits (I2, I4, S7, S11). It shares no code with the risk engine.

A worst case is what risk judged at approval: position plus everything pending, this order included, on the
worse side, at the reference price × (1 + collar). Other instruments count at their highest price of the
session: a total that is within its cap here was so then.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa

from hybrid_platform.domain.exact import MONEY
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import OrderEventRecord, OrderRecord, OrderStatus, OrderType, Side, TradeRecord
from hybrid_platform.settings.session import Mode, SessionSettings
from hybrid_platform.storage.audit import highest_prices, orders_on_stale_ticks
from hybrid_platform.storage.errors import Cause, DatabaseError
from hybrid_platform.storage.reader import OrderOrigin, read_instruments, read_order_origins, read_records, read_rows
from hybrid_platform.trading.accounts import Account, AccountSnapshot
from hybrid_platform.trading.adapters.paper.model import build_paper_model
from hybrid_platform.trading.states import CLOSED

ZERO, ONE = Decimal(0), Decimal(1)
_FILLS = frozenset({OrderStatus.PARTIALLY_FILLED.value, OrderStatus.FILLED.value})
_ENDS = frozenset(status.value for status in CLOSED)
_add, _subtract, _multiply = MONEY.add, MONEY.subtract, MONEY.multiply


class TradingAudit(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows say."""

    account: AccountSnapshot
    orders: int
    fills: int
    most_open: int
    """Orders open at once, the new one included."""
    worst_symbol_usd: Decimal
    """The largest worst case of one instrument that an order was approved with, reducing ones left out."""
    worst_total_usd: Decimal
    """Of all instruments; not below what it was."""
    is_exact: bool
    """No other instrument was held when that order was approved: the total is what risk judged."""
    partly_filled: int
    """Orders with more than one fill, or ended with a part filled."""
    stale: int
    """Orders on a tick that was older than ``max_staleness_ms`` when it was received."""
    faults: tuple[str, ...]
    """Rows that do not fit each other."""


class _Working:
    """An order that may still be filled."""

    def __init__(self, row: OrderRecord) -> None:
        self.row = row
        self.left = row.qty
        self.fills = 0
        self.is_open = True


class _Book:
    """One instrument."""

    def __init__(self, unit: Decimal, highest: Decimal) -> None:
        self.unit = unit
        """USD for quantity 1 at price 1, with the collar."""
        self.highest = highest
        self.net = ZERO
        self.pending = {Side.BUY: ZERO, Side.SELL: ZERO}

    def worst(self, price: Decimal) -> Decimal:
        up, down = _add(self.net, self.pending[Side.BUY]), _subtract(self.net, self.pending[Side.SELL])
        return _multiply(_multiply(max(up.copy_abs(), down.copy_abs()), price), self.unit)

    def is_reducing(self, side: Side) -> bool:
        """Whether all that is pending on a side can only make the position smaller."""
        against = self.net.copy_negate() if side is Side.BUY else self.net
        return against > ZERO and self.pending[side] <= against


class _Auditor:
    def __init__(self, engine: sa.Engine, session_id: str, settings: SessionSettings) -> None:
        self._engine, self._session_id = engine, session_id
        self._max_staleness_ms = settings.risk.max_staleness_ms
        self._orders: Iterator[OrderRecord] = read_records(engine, session_id, OrderRecord)
        self._origins: Iterator[OrderOrigin] = read_order_origins(engine, session_id)
        self._trades: Iterator[TradeRecord] = read_records(engine, session_id, TradeRecord)
        instruments = {item.key: item for item in read_instruments(engine, session_id)}
        highest = highest_prices(engine, session_id)
        model = build_paper_model(settings) if settings.mode is Mode.PAPER else None
        slippage = model.slippage_bps if model else settings.execution.slippage_bps
        collar = _add(ONE, max(settings.risk.price_collar_bps or ZERO, slippage).scaleb(-4))
        rates = settings.risk.usd_rates

        def book(item: Instrument) -> _Book:
            unit = _multiply(_multiply(item.multiplier, rates.get(item.quote, ZERO)), collar)
            return _Book(unit, highest.get(item.key, ZERO))

        self._books = {key: book(item) for key, item in instruments.items()}
        self._account = Account(lambda venue, symbol: instruments[venue, symbol])
        self._working: dict[str, _Working] = {}
        self._open = self._most_open = self._approved = self._fills = self._partly = 0
        self._worst_symbol = self._worst_total = ZERO
        self._is_exact = True
        self._faults: list[str] = []

    def run(self) -> TradingAudit:
        for n, order_id, status, _, _ in read_rows(self._engine, self._session_id, OrderEventRecord):
            if status == OrderStatus.INITIALIZED:
                self._approve(n, order_id)
                continue
            working = self._working.get(order_id)
            if working is None:
                self._faults.append(f"order_events n={n}: expected an order that may still change, got {order_id}")
                continue
            if status in _FILLS:
                self._fill(n, working)
            self._set_open(working, status not in _ENDS)
            if not working.is_open and (not working.left or status == OrderStatus.REJECTED):
                del self._working[order_id]
            if status == OrderStatus.FILLED and working.left:
                self._faults.append(f"order {order_id}: expected FILLED with nothing left, got {working.left}")
        self._faults += [f"{kind}: {row}: expected its event, got none" for kind, row in self._unmet()]
        self._partly += sum(not each.is_open and 0 < each.left < each.row.qty for each in self._working.values())
        self._conserve()
        return TradingAudit(
            account=self._account.snapshot(),
            orders=self._approved,
            fills=self._fills,
            most_open=self._most_open,
            worst_symbol_usd=self._worst_symbol,
            worst_total_usd=self._worst_total,
            is_exact=self._is_exact,
            partly_filled=self._partly,
            stale=orders_on_stale_ticks(self._engine, self._session_id, self._max_staleness_ms),
            faults=tuple(self._faults[:20]),
        )

    def _approve(self, n: int, order_id: str) -> None:
        row, origin = next(self._orders, None), next(self._origins, None)
        if row is None or row.order_id != order_id:
            self._faults.append(f"order_events n={n}: expected the row of order {order_id}, got {row and row.order_id}")
            return
        self._approved += 1
        self._working[order_id] = _Working(row)
        self._open += 1
        self._most_open = max(self._most_open, self._open)
        book = self._books[row.venue, row.symbol]
        book.pending[row.side] = _add(book.pending[row.side], row.qty)
        price = row.price if row.type is OrderType.MARKET else origin and origin.limit_arrival
        if price is None or book.is_reducing(row.side):
            return
        symbol = book.worst(price)
        total = sum((each.worst(each.highest) for each in self._books.values() if each is not book), symbol)
        self._worst_symbol = max(self._worst_symbol, symbol)
        if total > self._worst_total:
            self._worst_total, self._is_exact = total, total == symbol

    def _fill(self, n: int, working: _Working) -> None:
        row, trade = working.row, next(self._trades, None)
        if trade is None or trade.order_id != row.order_id:
            was = trade and trade.order_id
            self._faults.append(f"order_events n={n}: expected a trade of order {row.order_id}, got {was}")
            return
        self._fills += 1
        working.fills += 1
        self._partly += working.fills == 2
        working.left = _subtract(working.left, trade.fill_qty)
        if working.left < ZERO:
            self._faults.append(f"trade {trade.trade_id}: expected at most what the order had left, got more")
        book = self._books[trade.venue, trade.symbol]
        signed = trade.fill_qty if trade.side is Side.BUY else trade.fill_qty.copy_negate()
        book.net = _add(book.net, signed)
        if working.is_open:
            book.pending[row.side] = _subtract(book.pending[row.side], trade.fill_qty)
        if not self._account.apply(trade):
            self._faults.append(f"trade {trade.trade_id}: expected once, got there again")

    def _set_open(self, working: _Working, is_open: bool) -> None:
        """Note that an order ended, or is open again for a late fill; what ended is pending no longer."""
        if is_open is working.is_open:
            return
        working.is_open = is_open
        self._open += 1 if is_open else -1
        book, side = self._books[working.row.venue, working.row.symbol], working.row.side
        change = working.left if is_open else working.left.copy_negate()
        book.pending[side] = _add(book.pending[side], change)

    def _unmet(self) -> Iterator[tuple[str, Any]]:
        """Yield the first rows that no event spoke of."""
        for kind, rows, name in (("orders", self._orders, "order_id"), ("trades", self._trades, "trade_id")):
            row = next(rows, None)
            if row is not None:
                yield kind, getattr(row, name)

    def _conserve(self) -> None:
        """Cash = realised − cost of what is open − fees, and the position is what was bought less what was sold."""
        for held in self._account.snapshot().positions:
            kept = _subtract(_subtract(held.realised, held.cost), held.fees)
            if held.cash != kept:
                self._faults.append(f"{held.symbol}: expected cash {kept}, got {held.cash}")
            book = self._books[held.venue, held.symbol]
            if held.net != book.net:
                self._faults.append(f"{held.symbol}: expected a position of {book.net}, got {held.net}")


def audit_trading(engine: sa.Engine, session_id: str, settings: SessionSettings) -> TradingAudit:
    """Return the audit; raise DatabaseError where rows cannot be read, or hold what was never written there."""
    try:
        return _Auditor(engine, session_id, settings).run()
    except (LookupError, ArithmeticError, ValueError, TypeError) as error:
        raise DatabaseError(Cause.CORRUPT, f"trading of {session_id}: {type(error).__name__}: {error}") from error
