"""The order guard alone: exposure, and what it keeps about ended orders (S14, L1)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.orders import OrderStatus, Side
from hybrid_platform.live.order_guard import LiveOrderGuard
from hybrid_platform.trading.order import Fill, Report
from hybrid_platform_tests.live.orders import ARMED, PRICE, a_fill, a_table, an_order, row_of

pytestmark = pytest.mark.scenario("S14", "L1")


def test_ended_orders_are_not_kept_as_pending():
    guard = LiveOrderGuard(ARMED, 5, {"USD": Decimal(1)}, a_table())
    guard.update_price(0, Decimal(PRICE))
    for number in range(1, 101):
        order = an_order(number, side=Side.BUY if number % 2 else Side.SELL)
        guard.add_row(row_of(order))
        assert guard.rejection_reason(order) is None
        guard.mark_sent(order)
        assert list(guard.pending) == [order.order_id]
        ended = (OrderStatus.REJECTED, None) if number % 10 in {1, 2} else (OrderStatus.FILLED, a_fill(number).fill)
        assert guard.apply_report(Report(order.order_id, ended[0], "VENUE", 0, ended[1])) is None
        assert not guard.pending
    assert guard.exposure_usd() == 0
    guard.add_row(row_of(order))
    assert guard.rejection_reason(order) == "expected an order that was not sent before, got one that was"


MOVES = st.lists(
    st.tuples(
        st.sampled_from(list(Side)), st.integers(1, 12), st.integers(0, 100), st.sampled_from(("fill", "cancel", ""))
    ),
    max_size=30,
)


@given(MOVES)
def test_exposure_at_the_venue_never_exceeds_the_maximum(moves):
    """No sequence of orders, fills and cancels gets more notional to the venue than was armed."""
    table = a_table()
    guard = LiveOrderGuard(ARMED, 5, {"USD": Decimal(1)}, table)
    guard.update_price(0, Decimal(PRICE))
    net, pending = Decimal(0), {Side.BUY: Decimal(0), Side.SELL: Decimal(0)}
    for number, (side, qty, percent, what) in enumerate(moves, 1):
        order = an_order(number, qty, side)
        guard.add_row(row_of(order))
        before = max(abs(net + pending[Side.BUY]), abs(net - pending[Side.SELL])) * PRICE
        if guard.rejection_reason(order) is not None:
            continue
        guard.mark_sent(order)
        pending[side] += qty
        worst = max(abs(net + pending[Side.BUY]), abs(net - pending[Side.SELL])) * PRICE
        assert worst <= max(ARMED, before)
        assert guard.exposure_usd() == worst
        executed = Decimal(qty) * percent / 100 if what else Decimal(0)
        if executed:
            status = OrderStatus.FILLED if executed == qty else OrderStatus.PARTIALLY_FILLED
            report = Report(order.order_id, status, "VENUE", 0, Fill(1, executed, Decimal(PRICE), Decimal(0)))
            assert guard.apply_report(report) is None
            assert guard.apply_report(report) is None, "a repetition changes nothing"
            net += executed if side is Side.BUY else -executed
            pending[side] -= executed
        if what == "cancel" and executed < qty:
            assert guard.apply_report(Report(order.order_id, OrderStatus.CANCELED, "VENUE", 0, None, executed)) is None
            pending[side] -= Decimal(qty) - executed
        assert guard.exposure_usd() == max(abs(net + pending[Side.BUY]), abs(net - pending[Side.SELL])) * PRICE
