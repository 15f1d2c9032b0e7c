"""The shadow adapter: fills by the stated model, and the records of an order (S9, S10)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import (
    OrderEventRecord,
    OrderRecord,
    Side,
    SignalRecord,
    TradeRecord,
)
from hybrid_platform_tests.trading.market import (
    SECOND,
    START,
    make_settings,
    make_table,
    make_ticks,
    run,
    signal_at,
)

BUY, SELL = Side.BUY, Side.SELL


@pytest.mark.scenario("S9", "S10")
def test_a_signal_becomes_an_order_and_a_fill_with_slippage():
    ticks = make_ticks(make_table(), ["100", "101"])
    outcome = run(make_settings(), ticks, [signal_at(ticks, 1, BUY, "0.5")])
    assert [type(record) for record in outcome.records] == [
        SignalRecord, OrderRecord, *[OrderEventRecord] * 4, TradeRecord,
    ]  # fmt: skip
    assert outcome.states("O2") == ["INITIALIZED", "SUBMITTED", "ACCEPTED", "FILLED"]
    (trade,) = outcome.trades
    assert trade.fill_price == Decimal("101") * Decimal("1.001")
    assert trade.fees == trade.fill_price * Decimal("0.5") * Decimal("0.001")
    order = outcome.orders["O2"]
    assert (order.status, order.price, order.qty, order.is_shadow) == ("FILLED", 101, Decimal("0.5"), True)
    assert (trade.trade_id, trade.order_id, order.signal_id, trade.is_shadow) == ("T2-1", "O2", "S2", True)
    assert {record.ts for record in outcome.records} == {START + SECOND}
    assert [event.n for event in outcome.of(OrderEventRecord)] == [1, 2, 3, 4]


@pytest.mark.scenario("S9")
def test_a_sale_fills_below_the_last_price():
    ticks = make_ticks(make_table(), ["100"])
    outcome = run(make_settings(), ticks, [signal_at(ticks, 0, SELL, 1)])
    assert outcome.trades[0].fill_price == Decimal("99.9")


@pytest.mark.scenario("S9")
@pytest.mark.parametrize(
    ("side", "limit", "price"),
    [(BUY, "100", "100"), (BUY, "100.05", "100.05"), (BUY, "101", "100.1"), (BUY, "99.99", None),
     (SELL, "100", "100"), (SELL, "99.95", "99.95"), (SELL, "99", "99.9"), (SELL, "100.01", None)],
)  # fmt: skip
def test_a_limit_order_fills_within_its_limit_or_is_canceled(side, limit, price):
    """No order ever rests in SHADOW."""
    ticks = make_ticks(make_table(), ["100"])
    outcome = run(make_settings(), ticks, [signal_at(ticks, 0, side, 1, limit_price=limit)])
    assert [trade.fill_price for trade in outcome.trades] == ([] if price is None else [Decimal(price)])
    assert outcome.orders["O1"].status == ("FILLED" if price else "CANCELED")
    assert outcome.orders["O1"].price == Decimal(limit)
    assert outcome.engine.counters.open_orders == 0


def test_a_price_increment_rounds_fills_against_the_order():
    stated = Instrument("TEST", "ABC", price_increment=Decimal("0.25"), inferred=False)
    ticks = make_ticks(make_table(stated=[stated]), ["100"])
    signals = [signal_at(ticks, 0, BUY, 1), signal_at(ticks, 0, SELL, 1, ordinal=2)]
    assert [trade.fill_price for trade in run(make_settings(), ticks, signals).trades] == [
        Decimal("100.25"),
        Decimal("99.75"),
    ]


def test_stated_fees_replace_the_settings():
    stated = Instrument("TEST", "ABC", taker_fee_bps=Decimal(2), fixed_fee=Decimal("0.3"), inferred=False)
    ticks = make_ticks(make_table(stated=[stated]), ["100"])
    settings = make_settings(execution={"slippage_bps": 0})
    assert run(settings, ticks, [signal_at(ticks, 0, BUY, 1)]).trades[0].fees == Decimal("0.32")


def test_a_cancel_finds_no_open_order_in_shadow():
    ticks = make_ticks(make_table(), ["100", "100"])
    cancel = signal_at(ticks, 1, BUY, 1, cancels="O1")
    outcome = run(make_settings(), ticks, [signal_at(ticks, 0, BUY, 1), cancel])
    assert outcome.reasons == ["UNKNOWN_ORDER"]
