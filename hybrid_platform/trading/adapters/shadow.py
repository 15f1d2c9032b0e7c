"""The shadow adapter: fills by a stated model, and nothing else (S9, I1).

in: an approved order · out: its whole lifecycle, at once. Market orders, and limit orders that the last
price reaches, fill whole at the last seen price, worsened by the slippage (never beyond their limit) and
rounded to the stated price increment. Other limit orders are canceled at once, because no order rests
here. The adapter holds two numbers, and no way to a network.
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import msgspec

from hybrid_platform.domain.orders import OrderStatus, Side
from hybrid_platform.trading.adapters.base import Execution
from hybrid_platform.trading.order import Fill, Order, Report, apply_slippage, compute_fees, round_to_increment
from hybrid_platform.trading.risk.engine import Approved, require_approved
from hybrid_platform.trading.states import Lifecycle, build_lifecycle

_SENT = (
    (OrderStatus.INITIALIZED, "RISK_APPROVED"),
    (OrderStatus.SUBMITTED, "SHADOW"),
    (OrderStatus.ACCEPTED, "SHADOW"),
)
FILLED: Lifecycle = build_lifecycle(*_SENT, (OrderStatus.FILLED, "LAST_PRICE"))
NOT_MARKETABLE: Lifecycle = build_lifecycle(*_SENT, (OrderStatus.CANCELED, "NOT_MARKETABLE"))


class ShadowAdapter(msgspec.Struct, frozen=True):
    """Executes every order in the instant in which it was approved, by the stated assumptions."""

    orders_outlive_session: ClassVar[bool] = False

    slippage_bps: Decimal
    fee_bps: Decimal

    def submit(self, approved: Approved[Order], now: int) -> Execution:
        """Return an order's lifecycle and its fill; no fill if a limit order would have to rest."""
        order = require_approved(approved)
        price = self.fill_price(order)
        if price is None:
            return NOT_MARKETABLE, None
        stated = order.instrument.taker_fee_bps
        bps = self.fee_bps if stated is None else stated
        return FILLED, Fill(1, order.qty, price, compute_fees(order.qty, price, order.instrument, bps))

    def cancel(self, order_id: str, now: int) -> None:
        """Do nothing: no order is ever open."""

    def close(self, now: int) -> tuple[Report, ...]:
        """Return no reports: every order was decided when it was submitted."""
        return ()

    def fill_price(self, order: Order) -> Decimal | None:
        """Return the price of the fill, or None if a limit order is away from the market."""
        instrument, side, limit = order.instrument, order.side, order.limit_price
        price = round_to_increment(
            apply_slippage(order.reference_price, self.slippage_bps, side), instrument.price_increment, side
        )
        if limit is None:
            return price
        if side is Side.BUY:
            return min(price, limit) if order.reference_price <= limit else None
        return max(price, limit) if order.reference_price >= limit else None
