"""What one real trade does to one order of ours: the fill model, without any state of the venue.

Takers (market orders, and limit orders that the last price reached when they arrived) take the
print's price, worsened by the slippage against them, never beyond their limit. Makers fill at their
limit when the market trades through it, or, if so stated, also at it, once the queue that stood
before them has traded.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from hybrid_platform.domain.exact import MONEY
from hybrid_platform.domain.orders import Side
from hybrid_platform.trading.order import ZERO, Order, apply_slippage, round_to_increment
from hybrid_platform.trading.risk.instrument_rules import FREE_SIZE_INCREMENT


class VenueOrder:
    """An order as the venue knows it."""

    __slots__ = ("ahead", "fills", "has_arrived", "is_canceled", "is_taking", "left", "order")

    def __init__(self, order: Order) -> None:
        self.order = order
        self.left = order.qty
        self.fills = 0
        self.has_arrived = False
        self.is_canceled = False
        """A cancel overtook it on the way."""
        self.is_taking = True
        self.ahead = ZERO
        """What stands before it in the queue."""


class Match(NamedTuple):
    """What a print offers an order."""

    price: Decimal
    size: Decimal
    is_maker: bool


def reaches(price: Decimal, order: Order) -> bool:
    """Return whether a price is at the order's limit or better for it; any is for a market order."""
    limit = order.limit_price
    return limit is None or (price <= limit if order.side is Side.BUY else price >= limit)


def match(resting: VenueOrder, price: Decimal, size: Decimal, slippage_bps: Decimal, fills_at: bool) -> Match | None:
    """Return what a print offers an order, having moved the queue; None where it offers nothing."""
    order = resting.order
    if not reaches(price, order):
        return None
    limit = order.limit_price
    if limit is None or resting.is_taking:
        taken = round_to_increment(
            apply_slippage(price, slippage_bps, order.side), order.instrument.price_increment, order.side
        )
        if limit is not None:
            taken = min(taken, limit) if order.side is Side.BUY else max(taken, limit)
        return Match(taken, size, is_maker=False)
    if price != limit:
        resting.ahead = ZERO
        return Match(limit, size, is_maker=True)
    if not fills_at:
        return None
    passed = min(resting.ahead, size)
    resting.ahead = MONEY.subtract(resting.ahead, passed)
    return Match(limit, MONEY.subtract(size, passed), is_maker=True)


def whole_parts(offered: Decimal, resting: VenueOrder) -> Decimal:
    """Return how much of an offer an order can take: all it needs, or whole size increments (free: 1e-8)."""
    if offered >= resting.left:
        return resting.left
    step = resting.order.instrument.size_increment or FREE_SIZE_INCREMENT
    return MONEY.subtract(offered, MONEY.remainder(offered, step))
