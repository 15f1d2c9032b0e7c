"""The checks themselves, in the order in which they are asked; limits beyond I2 and staleness start off.

Each is a small frozen object with a code, a limit and a test. A limit is inclusive: at it is allowed,
beyond it is not. Exposure caps let orders pass that can only make a position smaller, because the
market may carry a position past a cap that no order went past (I2).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from hybrid_platform.config import RiskSettings
from hybrid_platform.domain.clocks import NS_PER_MS
from hybrid_platform.domain.commands import TradingState
from hybrid_platform.domain.exact import canonical, from_units
from hybrid_platform.domain.orders import OrderType, Side, TimeInForce
from hybrid_platform.domain.reasons import VetoReason
from hybrid_platform.trading.marks import WINDOW
from hybrid_platform.trading.order import ZERO, Order
from hybrid_platform.trading.risk import Check, RiskContext


@dataclass(frozen=True, slots=True)
class Unrepeated:
    """The same signal id never trades twice (I3)."""

    limit: None = None
    code: ClassVar = VetoReason.DUPLICATE_SIGNAL

    def refuses(self, order: Order, context: RiskContext) -> str | None:
        """Refuse where the id was here before."""
        return f"signal {order.signal_id} came again" if context.is_repeated else None


@dataclass(frozen=True, slots=True)
class WellFormed:
    """An order that somebody could place."""

    limit: None = None
    code: ClassVar = VetoReason.INVALID_SIGNAL

    def refuses(self, order: Order, context: RiskContext) -> str | None:
        """Refuse sizes not above zero, limit orders without a price, GTD without a date and the like."""
        qty, limit = order.qty, order.limit_price
        if not isinstance(qty, Decimal) or not qty.is_finite() or qty <= ZERO:
            return f"size: expected a decimal above 0, was {qty}"
        if order.side is not Side.BUY and order.side is not Side.SELL:
            return f"side: expected BUY or SELL, was {order.side!r}"
        if order.type is OrderType.LIMIT:
            if not isinstance(limit, Decimal) or not limit.is_finite() or limit <= ZERO:
                return f"limit_price: expected a decimal above 0, was {limit}"
        elif order.type is not OrderType.MARKET or limit is not None:
            return f"type: expected LIMIT with a limit price, or MARKET without, was {order.type} with {limit}"
        if (order.time_in_force is TimeInForce.GTD) is (order.expires_at is None):
            return f"expires_at: expected with GTD and only then, was {order.time_in_force} with {order.expires_at}"
        return None


@dataclass(frozen=True, slots=True)
class KnownInstrument:
    """An instrument that is active, was seen, and whose quote has a USD rate."""

    limit: None = None
    code: ClassVar = VetoReason.UNKNOWN_INSTRUMENT

    def refuses(self, order: Order, context: RiskContext) -> str | None:
        """Refuse what cannot be priced in USD."""
        item = order.instrument
        if context.mark is None:
            return f"{item.venue}:{item.symbol} has not been seen in this session"
        if not item.active:
            return f"{item.venue}:{item.symbol} is stated as not active"
        if context.exposure.rate(item.quote) is None:
            return f"{item.venue}:{item.symbol}: risk.usd_rates has no rate for its quote {item.quote!r}"
        return None


@dataclass(frozen=True, slots=True)
class FreshData:
    """The data behind the signal: event to receipt by the clock rule (`marks`), receipt to decision."""

    limit: int
    """Milliseconds."""
    code: ClassVar = VetoReason.STALE_DATA

    def refuses(self, order: Order, context: RiskContext) -> str | None:
        """Refuse what is older than the limit, on either way."""
        if context.mark is None:
            return None
        _, ts_event, ts_recv = context.mark
        lag, limit_ns = ts_recv - ts_event, self.limit * NS_PER_MS
        if lag - context.marks.lag_floor > limit_ns:
            reference = context.marks.reference_lag(order.instrument.venue)
            if lag - reference > limit_ns:
                rule = f", counted from {_ms(reference)} ms, the median of {WINDOW} (clocks disagree)" if reference else ""
                return f"event to receipt: limit {self.limit} ms, was {_ms(lag - reference)} ms{rule}"
        if context.decided_at - ts_recv > limit_ns:
            return f"receipt to decision: limit {self.limit} ms, was {_ms(context.decided_at - ts_recv)} ms"
        return None


@dataclass(frozen=True, slots=True)
class Trading:
    """The kill switch."""

    state: TradingState
    code: VetoReason
    limit: None = None

    def refuses(self, order: Order, context: RiskContext) -> str | None:
        """Refuse everything while HALTED, everything that is not reducing while REDUCING."""
        if context.state is not self.state:
            return None
        if self.state is TradingState.REDUCING and context.exposure.is_reducing(order):
            return None
        return context.state_why


@dataclass(frozen=True, slots=True)
class ReduceOnly:
    """An order that may only make the position smaller, where it says so."""

    limit: None = None
    code: ClassVar = VetoReason.REDUCE_ONLY

    def refuses(self, order: Order, context: RiskContext) -> str | None:
        """Refuse reduce-only orders that, with all pending on their side, could do more."""
        if not order.reduce_only or context.exposure.is_reducing(order):
            return None
        net = context.exposure.holding(order.index, order.instrument).position.net
        return f"position {canonical(net)}, all pending included; was {order.side} {canonical(order.qty)}"


@dataclass(frozen=True, slots=True)
class SymbolExposure:
    """Worst case of the order's instrument (I2)."""

    limit: Decimal
    """USD."""
    code: ClassVar = VetoReason.RISK_CAP

    def refuses(self, order: Order, context: RiskContext) -> str | None:
        """Refuse what would exceed the cap and is not reducing."""
        usd = context.exposure_with(order)[0]
        if usd <= self.limit or context.exposure.is_reducing(order):
            return None
        return f"max_symbol_exposure_usd: limit {canonical(self.limit)}, would be {canonical(usd)}"


@dataclass(frozen=True, slots=True)
class TotalExposure:
    """Worst case of all instruments together (I2)."""

    limit: Decimal
    """USD."""
    code: ClassVar = VetoReason.RISK_CAP

    def refuses(self, order: Order, context: RiskContext) -> str | None:
        """Refuse what would exceed the cap and is not reducing."""
        usd = context.exposure_with(order)[1]
        if usd <= self.limit or context.exposure.is_reducing(order):
            return None
        return f"max_exposure_usd: limit {canonical(self.limit)}, would be {canonical(usd)}"


@dataclass(frozen=True, slots=True)
class OpenOrders:
    """Orders that are not closed, this one included (I2)."""

    limit: int
    code: ClassVar = VetoReason.RISK_CAP

    def refuses(self, order: Order, context: RiskContext) -> str | None:
        """Refuse one more than the cap, reducing or not: no market carries the count past it."""
        would_be = context.open_orders + 1
        return f"max_open_orders: limit {self.limit}, would be {would_be}" if would_be > self.limit else None


def checks_of(risk: RiskSettings) -> tuple[Check, ...]:
    """Return the checks that the settings switch on, in the order in which they are asked."""
    return (
        Unrepeated(),
        WellFormed(),
        KnownInstrument(),
        FreshData(risk.max_staleness_ms),
        Trading(TradingState.HALTED, VetoReason.HALTED),
        Trading(TradingState.REDUCING, VetoReason.REDUCING),
        ReduceOnly(),
        SymbolExposure(risk.max_symbol_exposure_usd),
        TotalExposure(risk.max_exposure_usd),
        OpenOrders(risk.max_open_orders),
    )


def _ms(ns: int) -> str:
    return canonical(from_units(ns, 6))
