"""The fill model: the effect of one real trade (a print) on one of our orders, without any state of the venue.

Takers (market orders, and limit orders that the last price reached when they arrived) fill at the
print's price, worsened by the slippage, never beyond their limit. Makers fill at their limit when the
market trades through it, or, if the settings state so, also at it, once the queue ahead of them has
traded.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from hybrid_platform.domain.decimals import MONEY
from hybrid_platform.domain.orders import Side
from hybrid_platform.trading.order import ZERO, Order, apply_slippage, round_to_increment
from hybrid_platform.trading.risk.instrument_rules import DEFAULT_SIZE_INCREMENT


class VenueOrder:
    """An order at the venue."""

    __slots__ = ("fills", "has_arrived", "is_canceled", "is_taking", "order", "queue_ahead", "remaining")

    def __init__(self, order: Order) -> None:
        self.order = order
        self.remaining = order.qty
        self.fills = 0
        self.has_arrived = False
        self.is_canceled = False
        """A cancel overtook it on its way to the venue."""
        self.is_taking = True
        self.queue_ahead = ZERO
        """The quantity ahead of it in the queue."""


class Match(NamedTuple):
    """The part of a print that an order may take, and its price."""

    price: Decimal
    size: Decimal
    is_maker: bool


def reaches_limit(price: Decimal, order: Order) -> bool:
    """Return whether a price is at the order's limit or better for the order; always true for a market order."""
    limit = order.limit_price
    return limit is None or (price <= limit if order.side is Side.BUY else price >= limit)


def match(
    resting: VenueOrder, price: Decimal, size: Decimal, slippage_bps: Decimal, fills_at_limit: bool
) -> Match | None:
    """Move the queue by a print, and return the order's match, or None."""
    order = resting.order
    if not reaches_limit(price, order):
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
        resting.queue_ahead = ZERO
        return Match(limit, size, is_maker=True)
    if not fills_at_limit:
        return None
    passed = min(resting.queue_ahead, size)
    resting.queue_ahead = MONEY.subtract(resting.queue_ahead, passed)
    return Match(limit, MONEY.subtract(size, passed), is_maker=True)


def fillable_qty(offered: Decimal, resting: VenueOrder) -> Decimal:
    """Return how much of an offer an order can take: all it needs, or whole size increments (default 1e-8)."""
    if offered >= resting.remaining:
        return resting.remaining
    step = resting.order.instrument.size_increment or DEFAULT_SIZE_INCREMENT
    return MONEY.subtract(offered, MONEY.remainder(offered, step))
