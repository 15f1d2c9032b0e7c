"""Accounts from fills alone, exact (I3, I4): positions, average price, PnL, fees, cash, equity.

in: `TradeRecord`s, from the engine as they happen or from the ``trades`` table afterwards · out: the
same account to the last digit. For every fill, change of cash + change of position × price ×
multiplier + fees = 0. The one division computes the share of a position's cost that a partial exit
releases; it is rounded half-even to 1e-18 of the quote currency, and the remainder stays in the cost, so
that realised + unrealised PnL is exact at every moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow

import msgspec

from hybrid_platform.domain.decimals import MONEY
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import Side, TradeRecord
from hybrid_platform.trading.order import ZERO
from hybrid_platform.trading.recent_ids import RecentIds

PNL_QUANTUM = Decimal("1e-18")
_ROUNDED = Context(prec=100, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, Overflow, DivisionByZero])
_add, _subtract, _multiply = MONEY.add, MONEY.subtract, MONEY.multiply


def divide_rounded(dividend: Decimal, divisor: Decimal) -> Decimal:
    """Return a quotient rounded half-even to 1e-18."""
    return _ROUNDED.quantize(_ROUNDED.divide(dividend, divisor), PNL_QUANTUM)


class PositionSnapshot(msgspec.Struct, frozen=True):
    """One instrument's part of the account; money in quote currency."""

    venue: str
    symbol: str
    quote: str
    net: Decimal
    """Above zero long, below zero short."""
    cost: Decimal
    """The price paid for the open position (below zero: received), without fees."""
    average_price: Decimal | None
    """cost ÷ (net × multiplier), rounded to 1e-18; None when flat."""
    realised: Decimal
    """Of closed positions, before fees."""
    fees: Decimal
    cash: Decimal
    """Received less paid, fees included."""
    fills: int


class AccountSnapshot(msgspec.Struct, frozen=True):
    """A whole account; money by quote currency."""

    positions: tuple[PositionSnapshot, ...]
    """By venue and symbol; every instrument that was ever filled."""
    cash: dict[str, Decimal]
    fees: dict[str, Decimal]
    realised: dict[str, Decimal]
    """Before fees."""


class Position:
    """One instrument's position, owned by its `Account`."""

    __slots__ = ("cash", "cost", "fees", "fills", "instrument", "net", "realised")

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.net = ZERO
        self.cost = ZERO
        self.realised = ZERO
        self.fees = ZERO
        self.cash = ZERO
        self.fills = 0

    def fill(self, side: Side, qty: Decimal, price: Decimal, fees: Decimal) -> None:
        """Apply one fill; ``qty`` and ``price`` above zero."""
        change = qty if side is Side.BUY else qty.copy_negate()
        value = _multiply(_multiply(change, price), self.instrument.multiplier)
        net = self.net
        after = _add(net, change)
        if not net or (net > ZERO) is (change > ZERO):
            self.cost = _add(self.cost, value)
        elif not after:
            self.realised = _subtract(self.realised, _add(self.cost, value))
            self.cost = ZERO
        elif (after > ZERO) is (net > ZERO):
            # A part is closed, and releases its share of the cost.
            released = divide_rounded(_multiply(self.cost, change), net.copy_negate())
            self.realised = _subtract(self.realised, _add(released, value))
            self.cost = _subtract(self.cost, released)
        else:
            # Closed and reversed: the remainder opens at the fill's price.
            opened = _multiply(_multiply(after, price), self.instrument.multiplier)
            closing = _subtract(value, opened)
            self.realised = _subtract(self.realised, _add(self.cost, closing))
            self.cost = opened
        self.net = after
        self.fees = _add(self.fees, fees)
        self.cash = _subtract(self.cash, _add(value, fees))
        self.fills += 1

    def value(self, price: Decimal) -> Decimal:
        """Return net × price × multiplier."""
        return _multiply(_multiply(self.net, price), self.instrument.multiplier)

    def unrealised(self, price: Decimal) -> Decimal:
        """Return the open position's value at a price, less its cost."""
        return _subtract(self.value(price), self.cost)

    def snapshot(self) -> PositionSnapshot:
        """Return the position as of now."""
        net, item = self.net, self.instrument
        average = divide_rounded(self.cost, _multiply(net, item.multiplier)) if net else None
        return PositionSnapshot(
            item.venue,
            item.symbol,
            item.quote,
            net,
            self.cost,
            average,
            self.realised,
            self.fees,
            self.cash,
            self.fills,
        )


class Account:
    """All positions, by ``(venue, symbol)``. A repeated fill, known by its trade id, changes nothing (I3).

    Fills must arrive in order of ``n``.
    """

    def __init__(self, find_instrument: Callable[[str, str], Instrument]) -> None:
        """Start flat; ``find_instrument(venue, symbol)`` gives quote and multiplier."""
        self._find_instrument = find_instrument
        self._positions: dict[tuple[str, str], Position] = {}
        self._trade_ids = RecentIds()

    def apply(self, trade: TradeRecord) -> bool:
        """Apply a fill; return False, and change nothing, if its trade id is known."""
        if self._trade_ids.record(trade.trade_id, trade.n) > 1:
            return False
        self.position(trade.venue, trade.symbol).fill(trade.side, trade.fill_qty, trade.fill_price, trade.fees)
        return True

    def position(self, venue: str, symbol: str) -> Position:
        """Return the position in an instrument; flat if it was never filled."""
        key = (venue, symbol)
        position = self._positions.get(key)
        if position is None:
            position = self._positions[key] = Position(self._find_instrument(venue, symbol))
        return position

    @property
    def is_flat(self) -> bool:
        """Whether no position is open."""
        return not any(held.net for held in self._positions.values())

    def positions(self) -> tuple[PositionSnapshot, ...]:
        """Return every instrument that was ever filled, by venue and symbol."""
        return tuple(held.snapshot() for _, held in sorted(self._positions.items()) if held.fills)

    def cash(self) -> dict[str, Decimal]:
        """Return cash by quote currency: received less paid, fees included."""
        return self._by_quote(lambda held: held.cash)

    def fees(self) -> dict[str, Decimal]:
        """Return fees paid by quote currency."""
        return self._by_quote(lambda held: held.fees)

    def realised(self) -> dict[str, Decimal]:
        """Return realised PnL by quote currency, before fees."""
        return self._by_quote(lambda held: held.realised)

    def equity_usd(
        self, find_price: Callable[[str, str], Decimal], usd_rates: Mapping[str, Decimal], starting_cash_usd: Decimal
    ) -> Decimal:
        """Return starting cash + Σ rate × (cash + net × price × multiplier), exact; open positions need a price."""
        equity = starting_cash_usd
        for (venue, symbol), held in tuple(self._positions.items()):
            worth = _add(held.cash, held.value(find_price(venue, symbol))) if held.net else held.cash
            if worth:
                equity = _add(equity, _multiply(worth, usd_rates[held.instrument.quote]))
        return equity

    def snapshot(self) -> AccountSnapshot:
        """Return the account as of now, without instruments that were never filled."""
        return AccountSnapshot(self.positions(), self.cash(), self.fees(), self.realised())

    def _by_quote(self, amount: Callable[[Position], Decimal]) -> dict[str, Decimal]:
        totals: dict[str, Decimal] = {}
        for _, held in sorted(self._positions.items()):
            if not held.fills:
                continue
            quote = held.instrument.quote
            totals[quote] = _add(totals.get(quote, ZERO), amount(held))
        return totals


def rebuild_account(trades: Iterable[TradeRecord], instruments: Mapping[tuple[str, str], Instrument]) -> Account:
    """Return the account rebuilt from a session's ``trades`` rows, applied in order of ``n``.

    Raises KeyError if a trade's instrument is not among ``instruments``.
    """
    account = Account(lambda venue, symbol: instruments[venue, symbol])
    for trade in sorted(trades, key=lambda row: row.n):
        account.apply(trade)
    return account
