"""Exposure in USD, worst of both sides, everything pending included (I2).

An instrument's worst case is the larger of |position + all pending buys| and |position − all pending
sells|, at its last price × multiplier × USD rate × (1 + collar). The total is the sum over all
instruments. The collar is the price collar, or the stated slippage where that is larger, so that a
fill at the worst price that is modelled does not carry an order past a cap.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from hybrid_platform.domain.exact import MONEY, from_units
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import Side
from hybrid_platform.trading.accounts import Account, Position
from hybrid_platform.trading.marks import Marks
from hybrid_platform.trading.order import BPS, ZERO, Order

_add, _subtract, _multiply = MONEY.add, MONEY.subtract, MONEY.multiply


class Holding:
    """One instrument: its position, what is pending on either side, and USD for one price unit × qty."""

    __slots__ = ("buys", "factor", "plain_factor", "position", "sells")

    def __init__(self, position: Position, rate: Decimal, collar: Decimal) -> None:
        item = position.instrument
        self.position = position
        self.buys = ZERO
        self.sells = ZERO
        self.plain_factor = _multiply(_multiply(item.multiplier, rate), from_units(1, item.price_scale))
        self.factor = _multiply(self.plain_factor, collar)

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a position nor anything pending."""
        return not (self.position.net or self.buys or self.sells)

    def worst_qty(self, more_buys: Decimal = ZERO, more_sells: Decimal = ZERO) -> Decimal:
        """Return the largest position, either way, that pending orders (and more) can lead to."""
        net = self.position.net
        up = _add(_add(net, self.buys), more_buys).copy_abs()
        down = _subtract(_subtract(net, self.sells), more_sells).copy_abs()
        return up if up > down else down


class Exposure:
    """Pending quantities by instrument, owned by the engine, beside the account's positions."""

    def __init__(self, account: Account, marks: Marks, usd_rates: Mapping[str, Decimal], collar_bps: Decimal) -> None:
        self._account = account
        self._marks = marks
        self._rates = usd_rates
        self._collar = _add(Decimal(1), _multiply(collar_bps, BPS))
        self._holdings: dict[int, Holding] = {}

    def rate(self, quote: str) -> Decimal | None:
        """Return USD for one unit of a currency; None where nobody stated it."""
        return self._rates.get(quote)

    def holding(self, index: int, instrument: Instrument) -> Holding:
        """Return an instrument's holding; raises KeyError where its quote has no USD rate."""
        holding = self._holdings.get(index)
        if holding is None:
            position = self._account.position(instrument.venue, instrument.symbol)
            holding = self._holdings[index] = Holding(position, self._rates[instrument.quote], self._collar)
        return holding

    def pend(self, order: Order, change: Decimal) -> None:
        """Add to (or, below zero, take from) what is pending on an order's side."""
        holding = self.holding(order.index, order.instrument)
        if order.side is Side.BUY:
            holding.buys = _add(holding.buys, change)
        else:
            holding.sells = _add(holding.sells, change)

    def is_reducing(self, order: Order) -> bool:
        """Return whether an order, with all that is pending on its side, can only make the position smaller.

        It stands against the position, and cannot turn it round: then it cannot raise the worst case.
        """
        holding = self.holding(order.index, order.instrument)
        net = holding.position.net
        if order.side is Side.BUY:
            return net < ZERO and _add(holding.buys, order.qty) <= net.copy_negate()
        return net > ZERO and _add(holding.sells, order.qty) <= net

    def with_candidate(self, order: Order) -> tuple[Decimal, Decimal]:
        """Return the worst case in USD, of the order's instrument and in total, were the order pending too."""
        own = self.holding(order.index, order.instrument)
        more = (order.qty, ZERO) if order.side is Side.BUY else (ZERO, order.qty)
        symbol = total = self._usd(order.index, own.factor, own.worst_qty(*more))
        for index, holding in self._holdings.items():
            if holding is not own and not holding.is_empty:
                total = _add(total, self._usd(index, holding.factor, holding.worst_qty()))
        return symbol, total

    def positions_usd(self) -> Decimal:
        """Return Σ |position| at the last prices, without collar and without what is pending."""
        total = ZERO
        for index, holding in tuple(self._holdings.items()):
            if net := holding.position.net:
                total = _add(total, self._usd(index, holding.plain_factor, net.copy_abs()))
        return total

    def _usd(self, index: int, factor: Decimal, qty: Decimal) -> Decimal:
        return _multiply(_multiply(Decimal(self._marks.price_units(index)), factor), qty)
