"""Exposure in USD: the worse of both sides, everything pending included (I2).

An instrument's worst case is the larger of |position + all pending buys| and |position − all pending
sells|, at its last price × multiplier × USD rate × (1 + collar). The total is the sum over all
instruments. The collar is the price collar, or the stated slippage if that is larger, so that a
fill at the worst price that is modelled does not carry an order past a cap.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from hybrid_platform.domain.decimals import MONEY
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import Side
from hybrid_platform.trading.accounts import Account, Position
from hybrid_platform.trading.market_state import MarketState
from hybrid_platform.trading.order import BPS, ZERO, Order

_add, _subtract, _multiply = MONEY.add, MONEY.subtract, MONEY.multiply


class Holding:
    """One instrument: its position, the quantities pending on either side, and their last value."""

    __slots__ = ("buys", "index", "position", "sells", "usd", "usd_with_collar", "valued_at", "worst_usd")

    def __init__(self, index: int, position: Position, rate: Decimal, collar: Decimal) -> None:
        self.index = index
        self.position = position
        self.buys = ZERO
        self.sells = ZERO
        self.usd = _multiply(position.instrument.multiplier, rate)
        """USD for qty 1 at price 1."""
        self.usd_with_collar = _multiply(self.usd, collar)
        self.worst_usd = ZERO
        self.valued_at = -1
        """Price units at which ``worst_usd`` was computed; -1: the quantities have changed since."""

    def mark_changed(self) -> None:
        """Mark the value as out of date: a quantity has changed."""
        self.valued_at = -1

    def add_pending(self, side: Side, change: Decimal) -> None:
        """Add to the pending quantity of a side; a change below zero takes from it."""
        self.mark_changed()
        if side is Side.BUY:
            self.buys = _add(self.buys, change)
        else:
            self.sells = _add(self.sells, change)

    def worst_qty(self, side: Side | None = None, qty: Decimal = ZERO) -> Decimal:
        """Return the largest position, either way, that pending orders and one more can lead to."""
        up = down = self.position.net
        if self.buys or self.sells:
            up, down = _add(up, self.buys), _subtract(down, self.sells)
        if side is Side.BUY:
            up = _add(up, qty)
        else:
            down = _subtract(down, qty)
        up, down = up.copy_abs(), down.copy_abs()
        return up if up > down else down


class Exposure:
    """Pending quantities by instrument, together with the account's positions. Owned by the engine."""

    def __init__(
        self, account: Account, market: MarketState, usd_rates: Mapping[str, Decimal], collar_bps: Decimal
    ) -> None:
        self._account = account
        self._market = market
        self.rates = usd_rates
        """USD for one unit of a currency."""
        self._collar = _add(Decimal(1), _multiply(collar_bps, BPS))
        self._holdings: dict[int, Holding] = {}
        self._total = ZERO

    def holding(self, index: int, instrument: Instrument) -> Holding:
        """Return an instrument's holding; raise KeyError if its quote has no USD rate."""
        holding = self._holdings.get(index)
        if holding is None:
            position = self._account.position(instrument.venue, instrument.symbol)
            holding = Holding(index, position, self.rates[instrument.quote], self._collar)
            self._holdings[index] = holding
        return holding

    def is_reducing(self, order: Order) -> bool:
        """Return whether an order, with all that is pending on its side, can only make the position smaller.

        Such an order is against the position and cannot reverse it, so it cannot raise the worst case.
        """
        holding = self.holding(order.index, order.instrument)
        net = holding.position.net
        if order.side is Side.BUY:
            return net < ZERO and _add(holding.buys, order.qty) <= net.copy_negate()
        return net > ZERO and _add(holding.sells, order.qty) <= net

    def project(self, order: Order) -> tuple[Decimal, Decimal]:
        """Return the worst case in USD, of the order's instrument and in total, as if the order were pending."""
        own = self.holding(order.index, order.instrument)
        unit = _multiply(order.reference_price, own.usd_with_collar)
        symbol = _multiply(unit, own.worst_qty(order.side, order.qty))
        if len(self._holdings) == 1:
            return symbol, symbol
        return symbol, _add(_subtract(self.worst_usd(), own.worst_usd), symbol)

    def worst_usd(self) -> Decimal:
        """Return the worst case in USD of all instruments; only changed holdings are valued again."""
        units = self._market.last_price_units()
        for holding in self._holdings.values():
            price = units[holding.index]
            if holding.valued_at != price:
                unit = _multiply(self._market.price(holding.index), holding.usd_with_collar)
                worst = _multiply(unit, holding.worst_qty())
                self._total = _add(self._total, _subtract(worst, holding.worst_usd))
                holding.worst_usd, holding.valued_at = worst, price
        return self._total

    def positions_usd(self) -> Decimal:
        """Return Σ |position| at the last prices, without collar and pending quantities."""
        total = ZERO
        for holding in tuple(self._holdings.values()):
            if net := holding.position.net:
                unit = _multiply(self._market.price(holding.index), holding.usd)
                total = _add(total, _multiply(unit, net.copy_abs()))
        return total
