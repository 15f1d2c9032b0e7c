"""Checks of quantity and money: instrument rules, per-order limits, exposure caps, order rate, loss.

Limits are inclusive: a value equal to its limit passes. Exposure caps and loss limits let through
orders that only reduce a position, because the market may carry a position past a cap that no order exceeded (I2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.decimals import MONEY, canonical
from hybrid_platform.domain.orders import VetoReason
from hybrid_platform.trading.order import BPS, Order, compute_notional
from hybrid_platform.trading.risk.engine import RiskContext


@dataclass(frozen=True, slots=True)
class StatedRule:
    """One stated rule of the order's instrument; inferred rules never deny."""

    code: VetoReason
    violation: Callable[[Order], str | None]
    limit: None = None

    def check(self, order: Order, context: RiskContext) -> str | None:
        """Deny an order that breaks the rule, rather than round it."""
        return None if order.instrument.inferred else self.violation(order)


@dataclass(frozen=True, slots=True)
class OrderNotional:
    """One order's notional in USD."""

    limit: Decimal
    """USD."""
    code: ClassVar = VetoReason.ORDER_NOTIONAL

    def check(self, order: Order, context: RiskContext) -> str | None:
        """Deny an order that is worth more, at its limit price or else at the last price."""
        item = order.instrument
        worth = compute_notional(order.qty, order.limit_price or order.reference_price, item)
        usd = MONEY.multiply(worth, context.exposure.rates[item.quote])
        if usd <= self.limit:
            return None
        return f"max_order_notional_usd: limit {canonical(self.limit)}, got {canonical(usd)}"


@dataclass(frozen=True, slots=True)
class PriceCollar:
    """How far a limit price may be from the last price."""

    limit: Decimal
    """Basis points."""
    code: ClassVar = VetoReason.PRICE_COLLAR

    def check(self, order: Order, context: RiskContext) -> str | None:
        """Deny limit prices further away, on either side."""
        if order.limit_price is None:
            return None
        away = MONEY.subtract(order.limit_price, order.reference_price).copy_abs()
        allowed = MONEY.multiply(MONEY.multiply(order.reference_price, self.limit), BPS)
        if away <= allowed:
            return None
        return (
            f"price_collar_bps: limit {canonical(self.limit)} of {canonical(order.reference_price)}, "
            f"got {canonical(away)} away"
        )


@dataclass(frozen=True, slots=True)
class SymbolExposure:
    """Worst case of the order's instrument, everything pending and the candidate included (I2)."""

    limit: Decimal
    """USD."""
    code: ClassVar = VetoReason.RISK_CAP

    def check(self, order: Order, context: RiskContext) -> str | None:
        """Deny an order that would exceed the cap and is not reducing."""
        usd = context.exposure_with(order)[0]
        if usd <= self.limit or context.exposure.is_reducing(order):
            return None
        return f"max_symbol_exposure_usd: limit {canonical(self.limit)}, would be {canonical(usd)}"


@dataclass(frozen=True, slots=True)
class TotalExposure:
    """Worst case of all instruments together, everything pending and the candidate included (I2)."""

    limit: Decimal
    """USD."""
    code: ClassVar = VetoReason.RISK_CAP

    def check(self, order: Order, context: RiskContext) -> str | None:
        """Deny an order that would exceed the cap and is not reducing."""
        usd = context.exposure_with(order)[1]
        if usd <= self.limit or context.exposure.is_reducing(order):
            return None
        return f"max_exposure_usd: limit {canonical(self.limit)}, would be {canonical(usd)}"


@dataclass(frozen=True, slots=True)
class OpenOrders:
    """Orders that are not closed, the candidate included (I2)."""

    limit: int
    code: ClassVar = VetoReason.RISK_CAP

    def check(self, order: Order, context: RiskContext) -> str | None:
        """Deny an order beyond the cap, reducing or not: the market cannot carry the count past it."""
        would_be = context.open_orders + 1
        return f"max_open_orders: limit {self.limit}, would be {would_be}" if would_be > self.limit else None


class OrderRate:
    """Approved orders a second on the session clock, by a token bucket; exact, in whole nanoseconds."""

    code: ClassVar = VetoReason.ORDER_RATE

    def __init__(self, limit: Decimal, burst: int) -> None:
        self.limit = limit
        """Orders a second."""
        self.burst = burst
        """Orders at once, when the bucket is full."""
        orders, seconds = limit.as_integer_ratio()
        # The time one token takes, rounded up so that the rate is never above the stated one.
        self._interval = -(-NS_PER_S * seconds // orders)
        self._empty_until = 0

    def check(self, order: Order, context: RiskContext) -> str | None:
        """Deny while the bucket is empty."""
        if order.ts >= self._empty_until - (self.burst - 1) * self._interval:
            return None
        return f"max_orders_per_second: limit {canonical(self.limit)}, burst {self.burst}"

    def on_approved(self, order: Order) -> None:
        """Take the order's token."""
        self._empty_until = max(self._empty_until, order.ts) + self._interval


@dataclass(frozen=True, slots=True)
class LossLimit:
    """Loss since midnight UTC, or drawdown from the peak, with open positions valued at the last prices."""

    code: VetoReason
    limit: Decimal
    """USD."""
    excess: Callable[[], str | None]

    def check(self, order: Order, context: RiskContext) -> str | None:
        """Deny an order that is not reducing while the loss is beyond its limit."""
        excess = self.excess()
        return None if excess is None or context.exposure.is_reducing(order) else excess
