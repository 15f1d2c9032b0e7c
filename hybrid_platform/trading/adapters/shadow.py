"""The shadow adapter: fills by a stated model, and nothing else (S9, I1).

in: an `Approved` order · out: its whole life, at once. Market orders, and limit orders that the last
price reaches, fill whole at the last seen price, worsened by the slippage against their side (never
beyond their limit), on the instrument's stated grid; other limit orders are canceled at once, because
nothing rests here. It holds two numbers, and no way to a network.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from hybrid_platform.domain.orders import OrderStatus, Side
from hybrid_platform.trading.order import Fill, Order, apply_slippage, compute_fees, round_to_increment
from hybrid_platform.trading.risk.engine import Approved
from hybrid_platform.trading.states import Lifecycle, life

_SENT = (
    (OrderStatus.INITIALIZED, "RISK_APPROVED"),
    (OrderStatus.SUBMITTED, "SHADOW"),
    (OrderStatus.ACCEPTED, "SHADOW"),
)
FILLED: Lifecycle = life(*_SENT, (OrderStatus.FILLED, "LAST_PRICE"))
RESTS_NOT: Lifecycle = life(*_SENT, (OrderStatus.CANCELED, "NOT_MARKETABLE"))


class ShadowAdapter(msgspec.Struct, frozen=True):
    """The stated assumptions, in basis points."""

    slippage_bps: Decimal
    fee_bps: Decimal

    def execute(self, approved: Approved[Order]) -> tuple[Lifecycle, Fill | None]:
        """Return an approved order's life and its fill; no fill where a limit order would have to rest."""
        order = Approved.opened(approved)
        price = self.fill_price(order)
        if price is None:
            return RESTS_NOT, None
        stated = order.instrument.taker_fee_bps
        bps = self.fee_bps if stated is None else stated
        return FILLED, Fill(1, order.qty, price, compute_fees(order.qty, price, order.instrument, bps))

    def fill_price(self, order: Order) -> Decimal | None:
        """Return the price of the fill, or None where a limit order is away from the market."""
        instrument, side, limit = order.instrument, order.side, order.limit_price
        price = round_to_increment(
            apply_slippage(order.reference_price, self.slippage_bps, side), instrument.price_increment, side
        )
        if limit is None:
            return price
        if side is Side.BUY:
            return min(price, limit) if order.reference_price <= limit else None
        return max(price, limit) if order.reference_price >= limit else None
