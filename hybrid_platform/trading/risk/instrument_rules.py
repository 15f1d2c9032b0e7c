"""An instrument's stated rules: an order that does not fit has a code and words, and is never rounded to fit.

Rules that were inferred never deny. The same rules are asked before an order is sent, at the last
price, and by the paper venue when the order arrives, at the price of that moment.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from hybrid_platform.domain.exact import MONEY, canonical, from_units
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import VetoReason
from hybrid_platform.domain.ticks import Int64s
from hybrid_platform.trading.order import Order, compute_notional

FREE_SIZE_INCREMENT = Decimal("1e-8")
"""Parts of orders are counted in these where no size increment is stated."""


def price_increment(order: Order) -> str | None:
    """Return how a limit price misses the price increment, or None."""
    step, limit = order.instrument.price_increment, order.limit_price
    if step is None or limit is None or not MONEY.remainder(limit, step):
        return None
    return f"limit price: multiple of {canonical(step)}, got {canonical(limit)}"


def size_increment(order: Order) -> str | None:
    """Return how a quantity misses the size increment, or None."""
    step = order.instrument.size_increment
    if step is None or not MONEY.remainder(order.qty, step):
        return None
    return f"quantity: multiple of {canonical(step)}, got {canonical(order.qty)}"


def quantity(order: Order) -> str | None:
    """Return how a quantity is outside its limits, or None."""
    return _outside("quantity", order.qty, order.instrument.min_qty, order.instrument.max_qty)


def value(order: Order, price: Decimal) -> str | None:
    """Return how a notional in quote currency, at the limit price or else at ``price``, is outside its limits."""
    item = order.instrument
    if item.min_notional is None and item.max_notional is None:
        return None
    worth = compute_notional(order.qty, order.limit_price or price, item)
    return _outside("notional", worth, item.min_notional, item.max_notional)


def violation(order: Order, price: Decimal) -> VetoReason | None:
    """Return the code of the first stated rule that an order breaks at ``price``, or None."""
    if order.instrument.inferred:
        return None
    if price_increment(order):
        return VetoReason.PRICE_INCREMENT
    if size_increment(order):
        return VetoReason.SIZE_INCREMENT
    if quantity(order):
        return VetoReason.QUANTITY_LIMIT
    return VetoReason.NOTIONAL_LIMIT if value(order, price) else None


def inferred_price_increment(prices: Int64s, instrument: Instrument) -> Decimal | None:
    """Return the largest step of which all prices (in units) are multiples; None where there are none."""
    return from_units(int(np.gcd.reduce(prices)), instrument.price_scale) if len(prices) else None


def _outside(name: str, was: Decimal, low: Decimal | None, high: Decimal | None) -> str | None:
    if low is not None and was < low:
        return f"{name}: at least {canonical(low)}, got {canonical(was)}"
    if high is not None and was > high:
        return f"{name}: at most {canonical(high)}, got {canonical(was)}"
    return None
