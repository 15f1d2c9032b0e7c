"""Checks of the signal, its data and the trading state; and `build_checks`, the ordered list of all checks.

Each check is a small frozen object with a code, a limit and a test; those of quantity and money are in
`limits`. All limits beyond I2 and staleness are off until they are set.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from hybrid_platform.domain.clocks import NS_PER_MS
from hybrid_platform.domain.commands import TradingState
from hybrid_platform.domain.decimals import MONEY, canonical, from_units
from hybrid_platform.domain.orders import OrderType, Side, TimeInForce, VetoReason
from hybrid_platform.domain.statistics import WINDOW
from hybrid_platform.settings.trading import RiskSettings
from hybrid_platform.trading.order import ZERO, Order
from hybrid_platform.trading.risk import instrument_rules as rules
from hybrid_platform.trading.risk.engine import RiskCheck, RiskContext
from hybrid_platform.trading.risk.limits import (
    LossLimit,
    OpenOrders,
    OrderNotional,
    OrderRate,
    PriceCollar,
    StatedRule,
    SymbolExposure,
    TotalExposure,
)
from hybrid_platform.trading.risk.loss import LossMonitor

_UPPER_BOUND = Decimal(10**20)
_FINEST = Decimal("1e-18")
_EXACT = "a number above 0, below 1e20, with at most 18 decimals"
_mod = MONEY.remainder


@dataclass(frozen=True, slots=True)
class DuplicateSignal:
    """The same signal id never trades twice (I3)."""

    limit: None = None
    code: ClassVar = VetoReason.DUPLICATE_SIGNAL

    def check(self, order: Order, context: RiskContext) -> str | None:
        """Deny a signal whose id came before."""
        return f"signal {order.signal_id} came again" if context.is_repeated else None


@dataclass(frozen=True, slots=True)
class OrderValidity:
    """Validity of the order itself: size, side, type, prices and expiry."""

    limit: None = None
    code: ClassVar = VetoReason.INVALID_SIGNAL

    def check(self, order: Order, context: RiskContext) -> str | None:
        """Deny sizes not above zero, limit orders without a price, GTD without a date and the like."""
        qty, limit = order.qty, order.limit_price
        if not _is_exact(qty):
            return f"size: expected {_EXACT}, got {str(qty)[:60]}"
        if order.side is not Side.BUY and order.side is not Side.SELL:
            return f"side: expected BUY or SELL, got {order.side!r}"
        if order.type is OrderType.LIMIT:
            if not _is_exact(limit):
                return f"limit_price: expected {_EXACT}, got {str(limit)[:60]}"
        elif order.type is not OrderType.MARKET or limit is not None:
            return f"type: expected LIMIT with a limit price, or MARKET without, got {order.type} with {limit}"
        if (order.time_in_force is TimeInForce.GTD) is (order.expires_at is None):
            return f"expires_at: expected with GTD and only then, got {order.time_in_force} with {order.expires_at}"
        if order.expires_at is not None and order.expires_at <= order.ts:
            return f"expires_at: expected after the session clock {order.ts}, got {order.expires_at}"
        return None


@dataclass(frozen=True, slots=True)
class KnownInstrument:
    """An instrument that is active, was seen, and whose quote has a USD rate."""

    limit: None = None
    code: ClassVar = VetoReason.UNKNOWN_INSTRUMENT

    def check(self, order: Order, context: RiskContext) -> str | None:
        """Deny an order that cannot be priced in USD."""
        item = order.instrument
        if context.last_price is None:
            return f"{item.venue}:{item.symbol} has not been seen in this session"
        if not item.active:
            return f"{item.venue}:{item.symbol} is stated as not active"
        if item.quote not in context.exposure.rates:
            return f"{item.venue}:{item.symbol}: risk.usd_rates has no rate for its quote {item.quote!r}"
        return None


@dataclass(frozen=True, slots=True)
class FreshData:
    """The age of the data behind the signal: event to receipt, and receipt to decision."""

    limit: int
    """Milliseconds."""
    code: ClassVar = VetoReason.STALE_DATA

    def check(self, order: Order, context: RiskContext) -> str | None:
        """Deny a signal whose data is older than the limit, by either age."""
        if context.last_price is None:
            return None
        _, ts_event, ts_recv = context.last_price
        lag, limit_ns = ts_recv - ts_event, self.limit * NS_PER_MS
        if lag - context.market.lag_floor > limit_ns:
            reference = context.market.reference_lag(order.instrument.venue)
            if lag - reference > limit_ns:
                was = f"event to receipt: limit {self.limit} ms, got {_ms(lag - reference)} ms"
                return (
                    f"{was} beyond the median of {WINDOW}, {_ms(reference)} ms: clocks disagree" if reference else was
                )
        if context.decided_at - ts_recv > limit_ns:
            return f"receipt to decision: limit {self.limit} ms, got {_ms(context.decided_at - ts_recv)} ms"
        return None


@dataclass(frozen=True, slots=True)
class TradingStateCheck:
    """The trading state, which only an operator can switch back to ACTIVE."""

    state: TradingState
    code: VetoReason
    limit: None = None

    def check(self, order: Order, context: RiskContext) -> str | None:
        """Deny every order while HALTED; while REDUCING, deny orders that do not reduce a position."""
        if context.state is not self.state:
            return None
        if self.state is TradingState.REDUCING and context.exposure.is_reducing(order):
            return None
        return context.state_reason


@dataclass(frozen=True, slots=True)
class ReduceOnly:
    """A reduce-only order, which may only make the position smaller."""

    limit: None = None
    code: ClassVar = VetoReason.REDUCE_ONLY

    def check(self, order: Order, context: RiskContext) -> str | None:
        """Deny reduce-only orders that, with all pending on their side, could do more."""
        if not order.reduce_only or context.exposure.is_reducing(order):
            return None
        net = context.exposure.holding(order.index, order.instrument).position.net
        return f"position {canonical(net)}, all pending included; got {order.side} {canonical(order.qty)}"


def build_checks(risk: RiskSettings, losses: LossMonitor) -> tuple[RiskCheck, ...]:
    """Return the checks that the settings switch on, in the order in which they run."""
    loss, drawdown = risk.max_daily_loss_usd, risk.max_drawdown_usd
    worth, collar, rate = risk.max_order_notional_usd, risk.price_collar_bps, risk.max_orders_per_second
    every: tuple[RiskCheck | None, ...] = (
        DuplicateSignal(),
        OrderValidity(),
        KnownInstrument(),
        FreshData(risk.max_staleness_ms),
        None if loss is None else LossLimit(VetoReason.DAILY_LOSS, loss, losses.daily_loss),
        None if drawdown is None else LossLimit(VetoReason.DRAWDOWN, drawdown, losses.drawdown),
        TradingStateCheck(TradingState.HALTED, VetoReason.HALTED),
        TradingStateCheck(TradingState.REDUCING, VetoReason.REDUCING),
        ReduceOnly(),
        StatedRule(VetoReason.PRICE_INCREMENT, rules.check_price_increment),
        StatedRule(VetoReason.SIZE_INCREMENT, rules.check_size_increment),
        StatedRule(VetoReason.QUANTITY_LIMIT, rules.check_quantity),
        StatedRule(VetoReason.NOTIONAL_LIMIT, lambda order: rules.check_notional(order, order.reference_price)),
        None if worth is None else OrderNotional(worth),
        None if collar is None else PriceCollar(collar),
        SymbolExposure(risk.max_symbol_exposure_usd),
        TotalExposure(risk.max_exposure_usd),
        OpenOrders(risk.max_open_orders),
        None if rate is None else OrderRate(rate, risk.order_burst),
    )
    return tuple(check for check in every if check is not None)


def _is_exact(value: object) -> bool:
    """Return whether a size or price is in the range in which money is computed exactly (see `decimals.MONEY`)."""
    return isinstance(value, Decimal) and value.is_finite() and ZERO < value < _UPPER_BOUND and not _mod(value, _FINEST)


def _ms(ns: int) -> str:
    return canonical(from_units(ns, 6))
