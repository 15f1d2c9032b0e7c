"""An instrument's stated rules: increments and limits. An order that breaks one is denied, never rounded to fit.

Inferred rules never deny. The same rules are checked before an order is sent, at the last price, and by
the paper venue when the order arrives, at the price of that moment.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from hybrid_platform.domain.decimals import MONEY, canonical, from_units
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import VetoReason
from hybrid_platform.domain.ticks import Int64s
from hybrid_platform.trading.order import Order, compute_notional

DEFAULT_SIZE_INCREMENT = Decimal("1e-8")
"""The size increment of partial fills of an instrument that states none."""


def check_price_increment(order: Order) -> str | None:
    """Return how a limit price breaks the price increment, or None."""
    step, limit = order.instrument.price_increment, order.limit_price
    if step is None or limit is None or not MONEY.remainder(limit, step):
        return None
    return f"limit price: multiple of {canonical(step)}, got {canonical(limit)}"


def check_size_increment(order: Order) -> str | None:
    """Return how a quantity breaks the size increment, or None."""
    step = order.instrument.size_increment
    if step is None or not MONEY.remainder(order.qty, step):
        return None
    return f"quantity: multiple of {canonical(step)}, got {canonical(order.qty)}"


def check_quantity(order: Order) -> str | None:
    """Return how a quantity is outside its limits, or None."""
    return _outside("quantity", order.qty, order.instrument.min_qty, order.instrument.max_qty)


def check_notional(order: Order, price: Decimal) -> str | None:
    """Return how a notional in quote currency, at the limit price or else at ``price``, is outside its limits."""
    item = order.instrument
    if item.min_notional is None and item.max_notional is None:
        return None
    worth = compute_notional(order.qty, order.limit_price or price, item)
    return _outside("notional", worth, item.min_notional, item.max_notional)


def find_violation(order: Order, price: Decimal) -> VetoReason | None:
    """Return the code of the first stated rule that an order breaks at ``price``, or None."""
    if order.instrument.inferred:
        return None
    if check_price_increment(order):
        return VetoReason.PRICE_INCREMENT
    if check_size_increment(order):
        return VetoReason.SIZE_INCREMENT
    if check_quantity(order):
        return VetoReason.QUANTITY_LIMIT
    return VetoReason.NOTIONAL_LIMIT if check_notional(order, price) else None


def infer_price_increment(prices: Int64s, instrument: Instrument) -> Decimal | None:
    """Return the largest step of which all prices (in units) are multiples; None without prices."""
    return from_units(int(np.gcd.reduce(prices)), instrument.price_scale) if len(prices) else None


def _outside(name: str, value: Decimal, low: Decimal | None, high: Decimal | None) -> str | None:
    if low is not None and value < low:
        return f"{name}: at least {canonical(low)}, got {canonical(value)}"
    if high is not None and value > high:
        return f"{name}: at most {canonical(high)}, got {canonical(value)}"
    return None
