"""The paper venue: latency, fills against later real trades, order terms, races, the session's end (S10, S11, I2)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import (
    DecisionStep,
    InputRecord,
    OrderEventRecord,
    OrderRecord,
    OrderStatus,
    Side,
    TimeInForce,
)
from hybrid_platform.trading.adapters.paper.latency import PRESETS, resolve_latency
from hybrid_platform.trading.engine import ExecutionEngine
from hybrid_platform.trading.market_state import MarketState
from hybrid_platform_tests.trading.market import (
    SECOND,
    START,
    Print,
    make_settings,
    make_steps,
    make_table,
    make_ticks,
    run,
    signal_at,
)

BUY, SELL = Side.BUY, Side.SELL
MS = 10**6


def paper(latency="none", risk=None, execution=None, **stated):
    """Settings without slippage, fees or delay, unless stated."""
    return make_settings(
        "PAPER",
        paper={"latency": latency, "participation": 1, **stated},
        execution={"slippage_bps": 0, "fee_bps": 0, **(execution or {})},
        risk=risk or {},
    )


def fills(outcome):
    return [(int(trade.fill_price), int(trade.fill_qty), trade.order_id) for trade in outcome.trades]


@pytest.mark.scenario("S11")
def test_a_market_order_fills_against_later_prints():
    """Each later print fills at its own price and up to its own size."""
    ticks = make_ticks(make_table(), [Print(100, 9), Print(101, 3), Print(102, 3), Print(103, 9)])
    outcome = run(paper(), ticks, [signal_at(ticks, 0, BUY, 8)])
    assert fills(outcome) == [(101, 3, "O1"), (102, 3, "O1"), (103, 2, "O1")]
    assert outcome.states("O1") == [
        "INITIALIZED",
        "SUBMITTED",
        "ACCEPTED",
        "PARTIALLY_FILLED",
        "PARTIALLY_FILLED",
        "FILLED",
    ]
    assert [trade.trade_id for trade in outcome.trades] == ["T1-1", "T1-2", "T1-3"]
    assert [order.status.value for order in outcome.of(OrderRecord)] == [
        "SUBMITTED",
        "ACCEPTED",
        "PARTIALLY_FILLED",
        "FILLED",
    ]


def test_participation_limits_all_orders_together():
    ticks = make_ticks(make_table(), [Print(100, 10), Print(100, 10), Print(100, 10)])
    signals = [signal_at(ticks, 0, BUY, 2), signal_at(ticks, 0, BUY, 2, 2)]
    outcome = run(paper(participation="0.3"), ticks, signals)
    assert fills(outcome) == [(100, 2, "O1"), (100, 1, "O1.2"), (100, 1, "O1.2")]


def test_partial_fills_are_whole_size_increments():
    stated = Instrument("TEST", "ABC", size_increment=Decimal(2), inferred=False)
    ticks = make_ticks(make_table(stated=[stated]), [Print(100, 5), Print(100, 5), Print(100, 1), Print(100, 50)])
    outcome = run(paper(), ticks, [signal_at(ticks, 0, BUY, 6)])
    assert fills(outcome) == [(100, 4, "O1"), (100, 2, "O1")]


def test_a_print_without_size_moves_the_price_and_fills_nothing():
    ticks = make_ticks(make_table(), [Print(100), Print(90, 0), Print(95, 5)])
    assert fills(run(paper(), ticks, [signal_at(ticks, 0, BUY, 1)])) == [(95, 1, "O1")]


def test_takers_pay_slippage_but_never_beyond_their_limit():
    ticks = make_ticks(make_table(), [Print(100), Print(100)])
    settings = paper(slippage_bps=100)
    signals = [
        signal_at(ticks, 0, BUY, 1),
        signal_at(ticks, 0, SELL, 1, 2),
        signal_at(ticks, 0, BUY, 1, 3, limit_price="100.5"),
    ]
    assert [trade.fill_price for trade in run(settings, ticks, signals).trades] == [101, 99, Decimal("100.5")]


def test_makers_fill_when_the_market_trades_through():
    ticks = make_ticks(make_table(), [Print(100), Print(99), Print(98, 2), Print(97, 50)])
    outcome = run(paper(slippage_bps=100), ticks, [signal_at(ticks, 0, BUY, 3, limit_price=99)])
    assert fills(outcome) == [(99, 2, "O1"), (99, 1, "O1")]
    assert [event.reason for event in outcome.of(OrderEventRecord)][-2:] == ["MAKER", "MAKER"]


def test_a_maker_waits_for_the_queue_ahead_of_it():
    """At its limit a maker fills once the queue has traded; a print through the limit fills at once."""
    # The mean print before it rests is 10, so that two of them, 20, stand before it.
    prints = [Print(101, 10), Print(101, 10), Print(100, 15), Print(100, 8), Print(100, 50)]
    ticks = make_ticks(make_table(), prints)
    outcome = run(paper(limit_fills="at", queue_prints=2), ticks, [signal_at(ticks, 1, BUY, 5, limit_price=100)])
    assert fills(outcome) == [(100, 3, "O2"), (100, 2, "O2")]
    through = run(paper(limit_fills="at", queue_prints=2), ticks, [signal_at(ticks, 1, BUY, 5, limit_price="100.5")])
    assert [trade.fill_price for trade in through.trades] == [Decimal("100.5")]


def test_a_marketable_limit_order_takes_and_then_rests():
    ticks = make_ticks(make_table(), [Print(100), Print(100, 1), Print(102, 9), Print(100, 9), Print(99, 9)])
    outcome = run(paper(), ticks, [signal_at(ticks, 0, BUY, 3, limit_price=100)])
    assert [event.reason for event in outcome.of(OrderEventRecord)][3:] == ["TAKER", "MAKER"]
    assert fills(outcome) == [(100, 1, "O1"), (100, 2, "O1")]


def test_makers_and_takers_pay_their_own_fees():
    ticks = make_ticks(make_table(), [Print(100), Print(100, 1), Print(99)])
    settings = paper(maker_fee_bps=-5, execution={"fee_bps": 20})
    signals = [signal_at(ticks, 0, BUY, 1), signal_at(ticks, 0, BUY, 1, 2, limit_price="99.5")]
    assert [trade.fees for trade in run(settings, ticks, signals).trades] == [Decimal("0.2"), Decimal("-0.04975")]
    stated = Instrument(
        "TEST", "ABC", maker_fee_bps=Decimal(1), taker_fee_bps=Decimal(2), fixed_fee=Decimal(1), inferred=False
    )
    ticks = make_ticks(make_table(stated=[stated]), [Print(100), Print(100, 1), Print(99)])
    assert [trade.fees for trade in run(settings, ticks, signals).trades] == [Decimal("1.02"), Decimal("1.00995")]


def test_delays_follow_the_session_clock():
    """An order reaches the venue, and its reports reach us, after their delays."""
    settings = paper(submit_ms=100, report_ms=30, jitter=0)
    prints = [
        Print(100, at=START),
        Print(101, at=START + 99 * MS),
        Print(102, at=START + 100 * MS),
        Print(103, at=START + 500 * MS),
    ]
    ticks = make_ticks(make_table(), prints)
    outcome = run(settings, ticks, [signal_at(ticks, 0, BUY, 1)])
    assert [(event.status.value, (event.ts - START) // MS) for event in outcome.of(OrderEventRecord)] == [
        ("INITIALIZED", 0), ("SUBMITTED", 0), ("ACCEPTED", 130), ("FILLED", 130),
    ]  # fmt: skip
    assert fills(outcome) == [(102, 1, "O1")]


def test_a_timer_drives_the_venue_in_a_silent_market():
    table = make_table()
    ticks = make_ticks(table, [100])
    engine = ExecutionEngine(paper(submit_ms=100, report_ms=100), table)
    engine.on_step(DecisionStep(ticks, (signal_at(ticks, 0, BUY, 1),)))
    assert engine.on_step(DecisionStep(ticks[:0], (), timer=START + 199 * MS)) == []
    event, row = engine.on_step(DecisionStep(ticks[:0], (), timer=START + SECOND))
    assert (event.status, event.ts, row.status) == (OrderStatus.ACCEPTED, START + 200 * MS, OrderStatus.ACCEPTED)


@pytest.mark.parametrize(
    ("terms", "size", "expected"),
    [
        (TimeInForce.IOC, 5, [(100, 3)]),
        (TimeInForce.IOC, 2, [(100, 2)]),
        (TimeInForce.FOK, 5, []),
        (TimeInForce.FOK, 3, [(100, 3)]),
    ],
)
def test_ioc_and_fok_fill_against_the_first_print_only(terms, size, expected):
    ticks = make_ticks(make_table(), [Print(100), Print(100, 3), Print(100, 30)])
    outcome = run(paper(), ticks, [signal_at(ticks, 0, BUY, size, time_in_force=terms)])
    assert [fill[:2] for fill in fills(outcome)] == expected
    assert outcome.orders["O1"].status == ("FILLED" if expected == [(100, size)] else "EXPIRED")
    assert outcome.engine.counters.open_orders == 0


def test_an_ioc_order_away_from_the_market_expires():
    ticks = make_ticks(make_table(), [Print(100), Print(100), Print(90)])
    outcome = run(paper(), ticks, [signal_at(ticks, 0, BUY, 1, limit_price=95, time_in_force=TimeInForce.IOC)])
    assert (outcome.trades, outcome.orders["O1"].status) == ([], "EXPIRED")


def test_gtd_expires_at_its_time():
    ticks = make_ticks(make_table(), [Print(100), Print(100), Print(90)])
    terms = {"limit_price": 95, "time_in_force": TimeInForce.GTD, "expires_at": START + 1500 * MS}
    outcome = run(paper(), ticks, [signal_at(ticks, 0, BUY, 1, **terms)])
    assert outcome.trades == []
    (expired,) = [event for event in outcome.of(OrderEventRecord) if event.status == "EXPIRED"]
    assert expired.ts == START + 1500 * MS


@pytest.mark.scenario("S11")
def test_the_rest_of_a_partial_fill_can_be_canceled():
    """The fill counts once, the rest is canceled, and a second cancel finds no open order."""
    ticks = make_ticks(make_table(), [Print(100), Print(100, 2), Print(100, 0), Print(100, 50)])
    signals = [
        signal_at(ticks, 0, BUY, 5),
        signal_at(ticks, 2, BUY, 1, cancels="O1"),
        signal_at(ticks, 2, BUY, 1, 2, cancels="O1"),
    ]
    outcome = run(paper(), ticks, signals)
    assert outcome.states("O1") == [
        "INITIALIZED",
        "SUBMITTED",
        "ACCEPTED",
        "PARTIALLY_FILLED",
        "PENDING_CANCEL",
        "CANCELED",
    ]
    assert outcome.reasons == ["UNKNOWN_ORDER"]
    assert fills(outcome) == [(100, 2, "O1")]
    (position,) = outcome.engine.account.positions()
    assert (position.net, position.cash) == (2, -200)
    assert [event.reason for event in outcome.of(OrderEventRecord)][-2:] == ["SIGNAL S3", "REQUESTED"]


@pytest.mark.scenario("S11")
def test_a_cancel_that_overtakes_its_order_takes_effect():
    settings = paper(submit_ms=1500, cancel_ms=0)
    ticks = make_ticks(make_table(), [Print(100)] * 5)
    outcome = run(settings, ticks, [signal_at(ticks, 0, BUY, 5), signal_at(ticks, 1, BUY, 1, cancels="O1")])
    assert outcome.states("O1") == ["INITIALIZED", "SUBMITTED", "PENDING_CANCEL", "ACCEPTED", "CANCELED"]
    assert outcome.trades == []


@pytest.mark.scenario("S10", "S11")
def test_a_late_cancel_changes_nothing():
    settings = paper(cancel_ms=1500, report_ms=3000)
    ticks = make_ticks(make_table(), [Print(100)] * 8)
    outcome = run(settings, ticks, [signal_at(ticks, 0, BUY, 5), signal_at(ticks, 1, BUY, 1, cancels="O1")])
    assert outcome.states("O1") == ["INITIALIZED", "SUBMITTED", "PENDING_CANCEL", "ACCEPTED", "FILLED"]


@pytest.mark.scenario("I2", "S11")
def test_unreported_fills_stay_pending_after_a_cancel():
    """Quantity that the venue executed stays pending until its fill is reported, so that no cap is exceeded.

    With some seeds the report of a fill is overtaken by that of the cancel.
    """
    late = 0
    for seed in range(40):
        prints = [
            Print(100, at=START),
            *[Print(100, 5, at=START + 200 * MS + i * MS) for i in range(20)],
            Print(100, 1, at=START + SECOND),
        ]
        ticks = make_ticks(make_table(), prints)
        settings = paper(
            submit_ms=1, cancel_ms=1, report_ms=20, jitter=10, seed=seed, risk={"max_symbol_exposure_usd": 4000}
        )
        signals = [signal_at(ticks, 0, BUY, 40), signal_at(ticks, 4, BUY, 1, cancels="O1")]
        signals += [signal_at(ticks, position, BUY, 20) for position in range(5, 21)]
        outcome = run(settings, ticks, signals)
        late += "LATE_FILL" in [event.reason for event in outcome.of(OrderEventRecord)]
        assert sum(trade.fill_qty for trade in outcome.trades) <= 40
    assert late > 3


@pytest.mark.scenario("I2")
def test_pending_orders_count_against_every_cap():
    ticks = make_ticks(make_table(), [Print(100)] * 2)
    low, high = {"limit_price": 90}, {"limit_price": 110}
    planned = [(BUY, 30, low), (BUY, 30, low), (SELL, 50, high), (SELL, 1, high)]
    signals = [signal_at(ticks, 0, side, size, n, **terms) for n, (side, size, terms) in enumerate(planned, 1)]
    outcome = run(paper(), ticks, signals)
    assert [(veto.signal_id, veto.reason.value) for veto in outcome.vetoes] == [
        ("S1.2", "RISK_CAP"),
        ("S1.4", "RISK_CAP"),
    ]
    few = run(paper(risk={"max_open_orders": 1}), ticks, signals)
    assert [veto.detail for veto in few.vetoes][-1] == "max_open_orders: limit 1, would be 2"


def test_a_reduce_only_order_never_reverses_the_position():
    """The venue fills a reduce-only order only as far as the position at that moment."""
    ticks = make_ticks(make_table(), [Print(100, 50), Print(100, 50), Print(100, 50), Print(120, 50)])
    signals = [
        signal_at(ticks, 0, BUY, 10),
        signal_at(ticks, 1, SELL, 10, limit_price=110, reduce_only=True),
        signal_at(ticks, 1, SELL, 10, 2),
    ]
    outcome = run(paper(), ticks, signals)
    assert outcome.engine.account.positions()[0].net == 0
    assert outcome.orders["O2"].status == "CANCELED"
    assert [event.reason for event in outcome.of(OrderEventRecord) if event.order_id == "O2"][-1] == "REDUCE_ONLY"


def test_rejects_are_counted_and_too_many_in_a_row_halt():
    ticks = make_ticks(make_table(), [Print(100)] * 4)
    settings = paper(reject_rate=1, risk={"halt_after_rejects": 2})
    outcome = run(settings, ticks, [signal_at(ticks, position, BUY, 1) for position in range(4)])
    assert outcome.states("O1") == ["INITIALIZED", "SUBMITTED", "REJECTED"]
    assert outcome.reasons == ["HALTED", "HALTED"]
    counters = outcome.engine.counters
    assert (counters.rejects, counters.open_orders, counters.state, len(outcome.of(InputRecord))) == (2, 0, "HALTED", 1)


def test_the_venue_checks_rules_at_the_price_on_arrival():
    stated = Instrument("TEST", "ABC", min_notional=Decimal(100), inferred=False)
    ticks = make_ticks(make_table(stated=[stated]), [Print(100), Print(99), Print(100)])
    outcome = run(paper(submit_ms=1500), ticks, [signal_at(ticks, 0, BUY, 1)])
    assert outcome.states("O1")[-1] == "REJECTED"
    assert outcome.of(OrderEventRecord)[-1].reason == "NOTIONAL_LIMIT"


def test_a_halt_cancels_resting_orders():
    ticks = make_ticks(make_table(), [Print(100)] * 3)
    engine = ExecutionEngine(paper(cancel_ms=200, report_ms=100), ticks.table)
    first, second = make_steps(ticks, [signal_at(ticks, 0, BUY, 1, limit_price=90)], [2])
    records = engine.on_step(first)
    records += engine.on_command(Command(CommandKind.HALT, "ann", "news"), 2, int(ticks.ts_recv[1]))
    assert records[-2].status == "PENDING_CANCEL"
    records = engine.on_step(second)
    assert [(record.status.value, record.ts - START) for record in records[:1]] == [("CANCELED", SECOND + 300 * MS)]
    assert engine.counters.open_orders == 0


def test_the_end_reports_fills_and_cancels_resting_orders():
    ticks = make_ticks(make_table(), [Print(100), Print(100, 2), Print(100, 0)])
    settings = paper(report_ms=60_000)
    outcome = run(settings, ticks, [signal_at(ticks, 0, BUY, 5), signal_at(ticks, 2, BUY, 1)])
    assert outcome.states("O1")[2:] == ["ACCEPTED", "PARTIALLY_FILLED", "CANCELED"]
    assert outcome.states("O3")[2:] == ["ACCEPTED", "CANCELED"]
    assert {event.ts for event in outcome.of(OrderEventRecord)[4:]} == {START + 2 * SECOND}
    assert outcome.of(OrderEventRecord)[-1].reason == "SESSION_END"
    counters = outcome.engine.counters
    assert (counters.open_orders, counters.trades, counters.exposure_usd) == (0, 1, 200)


def test_ticks_without_resting_orders_pass_as_a_batch(monkeypatch):
    """Ticks are stepped through one by one only while an order rests."""
    looked = []
    iter_ticks = MarketState.iter_ticks
    monkeypatch.setattr(
        MarketState, "iter_ticks", lambda self, stop: looked.append(self.position) or iter_ticks(self, stop)
    )
    ticks = make_ticks(make_table(), [Print(100)] * 500)
    outcome = run(paper("cloud"), ticks, [signal_at(ticks, 300, BUY, 1)])
    assert outcome.orders["O301"].status == "FILLED"
    assert looked == [301]


def test_each_delay_of_a_preset_can_be_overridden():
    assert resolve_latency(make_settings(paper={"latency": "home"}).paper) == PRESETS["home"]
    mine = resolve_latency(make_settings(paper={"latency": "home", "cancel_ms": "0.5", "jitter": 0}).paper)
    assert mine == PRESETS["home"]._replace(cancel_ns=500_000, jitter=0.0)


def test_the_seed_decides_the_session():
    ticks = make_ticks(make_table(), [Print(100, 1, at=START + i * MS) for i in range(200)])
    signals = [signal_at(ticks, position, BUY, 3) for position in range(0, 40, 4)]
    settings = [paper("cloud", seed=seed) for seed in (1, 1, 2)]
    first, again, other = (run(each, ticks, signals).records for each in settings)
    assert first == again
    assert first != other
