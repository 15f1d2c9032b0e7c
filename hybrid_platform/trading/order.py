"""An order as risk judges it and adapters execute it, a venue's reports, and the arithmetic of prices and fees."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from hybrid_platform.domain.decimals import MONEY
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import OrderStatus, OrderType, Side, TimeInForce

BPS = Decimal("0.0001")
ZERO = Decimal(0)


class Order(msgspec.Struct, frozen=True, gc=False):
    """A candidate for execution, made from a signal; quantities in units of base, prices in quote."""

    order_id: str
    signal_id: str
    seq: int
    """The tick that caused it."""
    index: int
    """The instrument's index in the session's table; -1 if the table does not have it."""
    instrument: Instrument
    side: Side
    type: OrderType
    qty: Decimal
    reference_price: Decimal
    """The instrument's last price when the order was judged."""
    limit_price: Decimal | None
    time_in_force: TimeInForce
    expires_at: int | None
    """Session-clock nanoseconds, for GTD."""
    reduce_only: bool
    ts: int
    """Session clock when the order was judged."""


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One execution, identified by its order and its number (I3)."""

    number: int
    qty: Decimal
    price: Decimal
    fees: Decimal
    """In quote currency; above zero is paid."""


class Report(msgspec.Struct, frozen=True, gc=False):
    """A venue's message about an order. Reports may come late, twice, or out of order."""

    order_id: str
    status: OrderStatus
    """The order's new state; for a fill FILLED or PARTIALLY_FILLED, as the venue sees it."""
    reason: str
    ts: int
    """Session clock at which the report arrived."""
    fill: Fill | None = None
    # The JSON key is older than the name; the ``inputs`` of recorded sessions contain it.
    cum_qty: Decimal = msgspec.field(default=ZERO, name="executed")
    """If the report ends the order (REJECTED, CANCELED, EXPIRED): the total quantity that the venue executed
    (FIX CumQty), including fills whose reports have not arrived."""


def compute_notional(qty: Decimal, price: Decimal, instrument: Instrument) -> Decimal:
    """Return qty × price × multiplier in quote currency, exact."""
    return MONEY.multiply(MONEY.multiply(qty, price), instrument.multiplier)


def compute_fees(qty: Decimal, price: Decimal, instrument: Instrument, bps: Decimal) -> Decimal:
    """Return notional × bps / 10,000 + the instrument's fixed fee, in quote currency, exact."""
    share = MONEY.multiply(MONEY.multiply(compute_notional(qty, price, instrument), bps), BPS)
    return MONEY.add(share, instrument.fixed_fee)


def round_to_increment(price: Decimal, increment: Decimal | None, side: Side) -> Decimal:
    """Return the price as a multiple of the increment: up for a BUY, down for a SELL, at least one increment."""
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
