"""An order as it is judged and placed, and what a venue reports of it."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from hybrid_platform.domain.exact import MONEY
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import OrderStatus, OrderType, Side, TimeInForce

BPS = Decimal("0.0001")
ZERO = Decimal(0)


class Order(msgspec.Struct, frozen=True, gc=False):
    """What a signal becomes before risk has judged it; quantities in units of base, prices in quote."""

    order_id: str
    signal_id: str
    seq: int
    """The tick that caused it."""
    index: int
    """The instrument's index in the session's table; -1 where it is not there."""
    instrument: Instrument
    side: Side
    type: OrderType
    qty: Decimal
    reference_price: Decimal
    """The instrument's last seen price when it was judged."""
    limit_price: Decimal | None
    time_in_force: TimeInForce
    expires_at: int | None
    """Session-clock nanoseconds, for GTD."""
    reduce_only: bool
    ts: int
    """Session clock when it was judged."""


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One execution: the ``number``-th of its order, which identifies it (I3)."""

    number: int
    qty: Decimal
    price: Decimal
    fees: Decimal
    """In quote currency; above zero is paid."""


class Report(msgspec.Struct, frozen=True, gc=False):
    """What a venue says of an order. Reports may come late, twice, or out of order."""

    order_id: str
    status: OrderStatus
    """What happened; a fill says FILLED or PARTIALLY_FILLED as the venue sees it."""
    reason: str
    ts: int
    """Session clock at which it reached us."""
    fill: Fill | None = None
    cum_qty: Decimal = msgspec.field(default=ZERO, name="executed")
    """Where it ends the order (REJECTED, CANCELED, EXPIRED): all that the venue ever executed of it, told or not."""


def compute_notional(qty: Decimal, price: Decimal, instrument: Instrument) -> Decimal:
    """Return qty × price × multiplier in quote currency, exact."""
    return MONEY.multiply(MONEY.multiply(qty, price), instrument.multiplier)


def compute_fees(qty: Decimal, price: Decimal, instrument: Instrument, bps: Decimal) -> Decimal:
    """Return notional × bps / 10,000 + the instrument's fixed fee, in quote currency, exact."""
    share = MONEY.multiply(MONEY.multiply(compute_notional(qty, price, instrument), bps), BPS)
    return MONEY.add(share, instrument.fixed_fee)


def round_to_increment(price: Decimal, increment: Decimal | None, side: Side) -> Decimal:
    """Return the price on the stated grid: up for a BUY, down for a SELL, never below one increment."""
    if increment is None:
        return price
    over = MONEY.remainder(price, increment)
    if not over:
        return price
    below = MONEY.subtract(price, over)
    return MONEY.add(below, increment) if side is Side.BUY or not below else below


def apply_slippage(price: Decimal, slippage_bps: Decimal, side: Side) -> Decimal:
    """Return price × (1 ± slippage_bps / 10,000): higher for a BUY, lower for a SELL."""
    slip = MONEY.multiply(MONEY.multiply(price, slippage_bps), BPS)
    return MONEY.add(price, slip) if side is Side.BUY else MONEY.subtract(price, slip)
