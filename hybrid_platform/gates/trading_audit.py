"""Audit of a session's trading from its rows alone: account, caps at every approval, fills and orders.

in: orders, order events and trades, read in step · out: a `TradingAudit`; postflight compares its figures with the
running engine's and with the limits (I2, I4, S7, S11). The audit shares no code with the risk engine.

A worst case is the exposure that risk judged at approval: the position plus all pending orders, this one included, on
the worse side, at the reference price × (1 + collar). Other instruments count at their highest price of the session,
so that a total within its cap here was within it then.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa

from hybrid_platform.domain.decimals import MONEY
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import OrderEventRecord, OrderRecord, OrderStatus, OrderType, Side, TradeRecord
from hybrid_platform.settings.session import Mode, SessionSettings
from hybrid_platform.storage.audit import count_orders_on_stale_ticks, find_highest_prices
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
    """The figures that follow from the rows."""

    account: AccountSnapshot
    orders: int
    fills: int
    max_open_orders: int
    """Largest number of orders open at once, the new one included."""
    worst_symbol_usd: Decimal
    """Largest worst case of one instrument at an approval, without reducing orders."""
    worst_total_usd: Decimal
    """The same for all instruments together; never below the true value."""
    is_exact: bool
    """Whether no other instrument was held at that approval, so that the total is the one that risk judged."""
    partially_filled: int
    """Orders with more than one fill, or that ended partially filled."""
    stale_orders: int
    """Orders on a tick that was older than ``max_staleness_ms`` at its receipt."""
    faults: tuple[str, ...]
    """Rows that contradict each other."""


class _WorkingOrder:
    """An order that may still be filled."""

    def __init__(self, row: OrderRecord) -> None:
        self.row = row
        self.open_qty = row.qty
        self.fills = 0
        self.is_open = True


class _Book:
    """Position and pending quantities of one instrument."""

    def __init__(self, unit: Decimal, highest: Decimal) -> None:
        self.unit = unit
        """USD for a quantity of 1 at a price of 1, collar included."""
        self.highest = highest
        self.net = ZERO
        self.pending = {Side.BUY: ZERO, Side.SELL: ZERO}

    def worst_case_usd(self, price: Decimal) -> Decimal:
        up, down = _add(self.net, self.pending[Side.BUY]), _subtract(self.net, self.pending[Side.SELL])
        return _multiply(_multiply(max(up.copy_abs(), down.copy_abs()), price), self.unit)

    def is_reducing(self, side: Side) -> bool:
        """Return whether everything pending on a side can only reduce the position."""
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
        highest = find_highest_prices(engine, session_id)
        model = build_paper_model(settings) if settings.mode is Mode.PAPER else None
        slippage = model.slippage_bps if model else settings.execution.slippage_bps
        collar = _add(ONE, max(settings.risk.price_collar_bps or ZERO, slippage).scaleb(-4))
        rates = settings.risk.usd_rates

        def book(item: Instrument) -> _Book:
            unit = _multiply(_multiply(item.multiplier, rates.get(item.quote, ZERO)), collar)
            return _Book(unit, highest.get(item.key, ZERO))

        self._books = {key: book(item) for key, item in instruments.items()}
        self._account = Account(lambda venue, symbol: instruments[venue, symbol])
        self._working: dict[str, _WorkingOrder] = {}
        self._open = self._max_open = self._approved = self._fills = self._partly = 0
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
            if not working.is_open and (not working.open_qty or status == OrderStatus.REJECTED):
                del self._working[order_id]
            if status == OrderStatus.FILLED and working.open_qty:
                self._faults.append(f"order {order_id}: expected FILLED with no open quantity, got {working.open_qty}")
        self._faults += [f"{kind}: {row}: expected its event, got none" for kind, row in self._rows_without_event()]
        self._partly += sum(not each.is_open and 0 < each.open_qty < each.row.qty for each in self._working.values())
        self._check_conservation()
        return TradingAudit(
            account=self._account.snapshot(),
            orders=self._approved,
            fills=self._fills,
            max_open_orders=self._max_open,
            worst_symbol_usd=self._worst_symbol,
            worst_total_usd=self._worst_total,
            is_exact=self._is_exact,
            partially_filled=self._partly,
            stale_orders=count_orders_on_stale_ticks(self._engine, self._session_id, self._max_staleness_ms),
            faults=tuple(self._faults[:20]),
        )

    def _approve(self, n: int, order_id: str) -> None:
        row, origin = next(self._orders, None), next(self._origins, None)
        if row is None or row.order_id != order_id:
            self._faults.append(f"order_events n={n}: expected the row of order {order_id}, got {row and row.order_id}")
            return
        self._approved += 1
        self._working[order_id] = _WorkingOrder(row)
        self._open += 1
        self._max_open = max(self._max_open, self._open)
        book = self._books[row.venue, row.symbol]
        book.pending[row.side] = _add(book.pending[row.side], row.qty)
        price = row.price if row.type is OrderType.MARKET else origin and origin.limit_arrival
        if price is None or book.is_reducing(row.side):
            return
        symbol = book.worst_case_usd(price)
        total = sum((each.worst_case_usd(each.highest) for each in self._books.values() if each is not book), symbol)
        self._worst_symbol = max(self._worst_symbol, symbol)
        if total > self._worst_total:
            self._worst_total, self._is_exact = total, total == symbol

    def _fill(self, n: int, working: _WorkingOrder) -> None:
        row, trade = working.row, next(self._trades, None)
        if trade is None or trade.order_id != row.order_id:
            found = trade and trade.order_id
            self._faults.append(f"order_events n={n}: expected a trade of order {row.order_id}, got {found}")
            return
        self._fills += 1
        working.fills += 1
        self._partly += working.fills == 2
        working.open_qty = _subtract(working.open_qty, trade.fill_qty)
        if working.open_qty < ZERO:
            self._faults.append(f"trade {trade.trade_id}: expected at most the open quantity of its order, got more")
        book = self._books[trade.venue, trade.symbol]
        signed = trade.fill_qty if trade.side is Side.BUY else trade.fill_qty.copy_negate()
        book.net = _add(book.net, signed)
        if working.is_open:
            book.pending[row.side] = _subtract(book.pending[row.side], trade.fill_qty)
        if not self._account.apply(trade):
            self._faults.append(f"trade {trade.trade_id}: expected once, got it again")

    def _set_open(self, working: _WorkingOrder, is_open: bool) -> None:
        """Mark an order as ended, or as open again for a late fill; only open orders are pending."""
        if is_open is working.is_open:
            return
        working.is_open = is_open
        self._open += 1 if is_open else -1
        book, side = self._books[working.row.venue, working.row.symbol], working.row.side
        change = working.open_qty if is_open else working.open_qty.copy_negate()
        book.pending[side] = _add(book.pending[side], change)

    def _rows_without_event(self) -> Iterator[tuple[str, Any]]:
        """Yield the first order and the first trade without an event."""
        for kind, rows, name in (("orders", self._orders, "order_id"), ("trades", self._trades, "trade_id")):
            row = next(rows, None)
            if row is not None:
                yield kind, getattr(row, name)

    def _check_conservation(self) -> None:
        """Check that cash = realised PnL − cost of the position − fees, and that positions are the sums of fills."""
        for position in self._account.snapshot().positions:
            expected = _subtract(_subtract(position.realised, position.cost), position.fees)
            if position.cash != expected:
                self._faults.append(f"{position.symbol}: expected cash {expected}, got {position.cash}")
            book = self._books[position.venue, position.symbol]
            if position.net != book.net:
                self._faults.append(f"{position.symbol}: expected a position of {book.net}, got {position.net}")


def audit_trading(engine: sa.Engine, session_id: str, settings: SessionSettings) -> TradingAudit:
    """Return the audit; raise DatabaseError when rows cannot be read or have impossible values."""
    try:
        return _Auditor(engine, session_id, settings).run()
    except (LookupError, ArithmeticError, ValueError, TypeError) as error:
        raise DatabaseError(Cause.CORRUPT, f"trading of {session_id}: {type(error).__name__}: {error}") from error
