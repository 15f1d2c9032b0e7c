"""Shadow execution: the stated model, the records it leaves, and what cannot get past it (S7, S9, S10, I1)."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import (
    DecisionStep,
    InputKind,
    InputRecord,
    OrderEventRecord,
    OrderRecord,
    OrderType,
    Side,
    SignalRecord,
    TimeInForce,
    TradeRecord,
)
from hybrid_platform.trading.adapters.live import SubmitOrder
from hybrid_platform.trading.engine import ExecutionEngine
from hybrid_platform_tests.trading.market import (
    FREE,
    SECOND,
    START,
    Print,
    run,
    settings_of,
    signal_at,
    steps_of,
    table_of,
    ticks_of,
)

BUY, SELL = Side.BUY, Side.SELL


@pytest.mark.scenario("S9", "S10")
def test_a_signal_becomes_an_order_with_every_state_and_a_fill_worsened_by_slippage():
    ticks = ticks_of(table_of(), ["100", "101"])
    outcome = run(settings_of(), ticks, [signal_at(ticks, 1, BUY, "0.5")])
    assert [type(record) for record in outcome.records] == [
        SignalRecord, OrderRecord, *[OrderEventRecord] * 4, TradeRecord,
    ]  # fmt: skip
    assert outcome.life("O2") == ["INITIALIZED", "SUBMITTED", "ACCEPTED", "FILLED"]
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
    ticks = ticks_of(table_of(), ["100"])
    outcome = run(settings_of(), ticks, [signal_at(ticks, 0, SELL, 1)])
    assert outcome.trades[0].fill_price == Decimal("99.9")


@pytest.mark.scenario("S9")
@pytest.mark.parametrize(
    ("side", "limit", "price"),
    [(BUY, "100", "100"), (BUY, "100.05", "100.05"), (BUY, "101", "100.1"), (BUY, "99.99", None),
     (SELL, "100", "100"), (SELL, "99.95", "99.95"), (SELL, "99", "99.9"), (SELL, "100.01", None)],
)  # fmt: skip
def test_a_limit_order_fills_at_its_limit_or_better_and_never_rests(side, limit, price):
    ticks = ticks_of(table_of(), ["100"])
    outcome = run(settings_of(), ticks, [signal_at(ticks, 0, side, 1, limit_price=limit)])
    assert [trade.fill_price for trade in outcome.trades] == ([] if price is None else [Decimal(price)])
    assert outcome.orders["O1"].status == ("FILLED" if price else "CANCELED")
    assert outcome.orders["O1"].price == Decimal(limit)
    assert outcome.engine.counters.open_orders == 0


def test_a_stated_price_increment_rounds_fills_against_the_order():
    stated = Instrument("TEST", "ABC", price_increment=Decimal("0.25"), inferred=False)
    ticks = ticks_of(table_of(stated=[stated]), ["100"])
    signals = [signal_at(ticks, 0, BUY, 1), signal_at(ticks, 0, SELL, 1, ordinal=2)]
    assert [trade.fill_price for trade in run(settings_of(), ticks, signals).trades] == [
        Decimal("100.25"),
        Decimal("99.75"),
    ]


def test_a_stated_taker_fee_and_a_fixed_fee_replace_the_settings():
    stated = Instrument("TEST", "ABC", taker_fee_bps=Decimal(2), fixed_fee=Decimal("0.3"), inferred=False)
    ticks = ticks_of(table_of(stated=[stated]), ["100"])
    settings = settings_of(execution={"slippage_bps": 0})
    assert run(settings, ticks, [signal_at(ticks, 0, BUY, 1)]).trades[0].fees == Decimal("0.32")


def test_marks_are_those_of_the_signals_tick_however_many_follow_in_the_batch():
    ticks = ticks_of(table_of("A", "B"), [Print(100), Print(7, index=1), Print(200), Print(9, index=1), Print(300)])
    signals = [signal_at(ticks, 1, BUY, 1), signal_at(ticks, 2, BUY, 1), signal_at(ticks, 3, SELL, 1)]
    outcome = run(settings_of(**FREE), ticks, signals)
    assert [(trade.symbol, trade.fill_price) for trade in outcome.trades] == [("B", 7), ("A", 200), ("B", 9)]


@pytest.mark.scenario("I3")
def test_the_same_signal_again_is_vetoed_in_a_row_of_its_own_and_changes_nothing():
    ticks = ticks_of(table_of(), ["100"])
    signal = signal_at(ticks, 0, BUY, 1)
    outcome = run(settings_of(), ticks, [signal, signal, signal])
    assert [record.signal_id for record in outcome.signals] == ["S1", "S1#2", "S1#3"]
    assert [(veto.signal_id, veto.reason.value) for veto in outcome.vetoes] == [
        ("S1#2", "DUPLICATE_SIGNAL"), ("S1#3", "DUPLICATE_SIGNAL"),
    ]  # fmt: skip
    assert list(outcome.orders) == ["O1"]
    assert len(outcome.trades) == 1


def test_an_instrument_that_was_never_seen_is_vetoed():
    table = table_of("ABC", "XYZ")
    ticks = ticks_of(table, ["100"])
    unseen = msgspec.structs.replace(signal_at(ticks, 0, BUY, 1), instrument=table[1])
    unlisted = msgspec.structs.replace(unseen, instrument=Instrument("TEST", "QQQ"), signal_id="S1.2")
    outcome = run(settings_of(), ticks, [unseen, unlisted])
    assert outcome.reasons == ["UNKNOWN_INSTRUMENT"] * 2
    assert "has not been seen" in outcome.vetoes[0].detail


def test_a_quote_without_a_dollar_rate_is_vetoed_by_name():
    ticks = ticks_of(table_of("SOL/EUR"), ["100"])
    outcome = run(settings_of(), ticks, [signal_at(ticks, 0, BUY, 1)])
    assert outcome.reasons == ["UNKNOWN_INSTRUMENT"]
    assert "no rate for its quote 'EUR'" in outcome.vetoes[0].detail
    allowed = settings_of(risk={"usd_rates": {"EUR": "1.1"}})
    assert run(allowed, ticks, [signal_at(ticks, 0, BUY, 1)]).reasons == []


def test_an_inactive_instrument_is_vetoed():
    ticks = ticks_of(table_of(stated=[Instrument("TEST", "ABC", active=False, inferred=False)]), ["100"])
    assert run(settings_of(), ticks, [signal_at(ticks, 0, BUY, 1)]).reasons == ["UNKNOWN_INSTRUMENT"]


@pytest.mark.parametrize(
    "terms",
    [{"size": Decimal(0)}, {"size": Decimal(-1)}, {"size": Decimal("NaN")}, {"size": Decimal("Infinity")},
     {"size": 0.1}, {"type": OrderType.LIMIT}, {"limit_price": Decimal(1)}, {"side": "BUY"},
     {"type": OrderType.LIMIT, "limit_price": Decimal(0)}, {"time_in_force": TimeInForce.GTD},
     {"expires_at": START + SECOND}, {"time_in_force": TimeInForce.GTD, "expires_at": START}],
    ids=str,
)  # fmt: skip
def test_what_nobody_could_place_is_vetoed(terms):
    ticks = ticks_of(table_of(), ["100"])
    bad = msgspec.structs.replace(signal_at(ticks, 0, BUY, 1), **terms)
    assert run(settings_of(), ticks, [bad]).reasons == ["INVALID_SIGNAL"]


@pytest.mark.scenario("S7", "L2")
def test_data_at_the_limit_is_fresh_and_beyond_it_is_stale():
    limit = 2 * SECOND
    for lag, reasons in ((limit, []), (limit + 1, ["STALE_DATA"]), (-limit - 1, [])):
        ticks = ticks_of(table_of(), [Print(100, lag=lag)])
        outcome = run(settings_of(), ticks, [signal_at(ticks, 0, BUY, 1)])
        assert outcome.reasons == reasons, lag
    ticks = ticks_of(table_of(), [Print(100, lag=limit + 1)])
    assert (
        "limit 2000 ms, got 2000.000001 ms" in run(settings_of(), ticks, [signal_at(ticks, 0, BUY, 1)]).vetoes[0].detail
    )


@pytest.mark.scenario("S7", "L2")
def test_a_late_decision_is_vetoed_journalled_and_the_same_again_from_the_journal():
    ticks = ticks_of(table_of(), ["100", "100"])
    steps = steps_of(ticks, [signal_at(ticks, 0, BUY, 1), signal_at(ticks, 1, BUY, 1)])
    live = ExecutionEngine(settings_of(), ticks.table)
    records = live.on_step(steps[0], decided_at=START + 2 * SECOND + 1)
    (entry,) = [record for record in records if isinstance(record, InputRecord)]
    assert (entry.kind, entry.ts, entry.detail) == (
        InputKind.LATE_DECISION,
        START + 2 * SECOND + 1,
        '{"signal_id": "S1"}',
    )
    assert [
        (record.signal_id, record.reason.value)
        for record in records
        if hasattr(record, "detail") and record is not entry
    ] == [("S1", "STALE_DATA")]  # the second signal's tick came a second later: still fresh
    again = ExecutionEngine(settings_of(), ticks.table, late={"S1": entry.ts})
    assert again.on_step(steps[0]) == records


@pytest.mark.scenario("S7", "L2")
def test_a_timers_signal_is_judged_by_the_age_of_the_last_tick():
    table = table_of()
    ticks = ticks_of(table, ["100"])
    for age, reasons in ((2 * SECOND, []), (2 * SECOND + 1, ["STALE_DATA"])):
        engine = ExecutionEngine(settings_of(), table)
        engine.on_step(DecisionStep(ticks, ()))
        now = START + age
        signal = msgspec.structs.replace(signal_at(ticks, 0, BUY, 1), ts=now)
        records = engine.on_step(DecisionStep(ticks[:0], (signal,), timer=now))
        assert [record.reason.value for record in records if hasattr(record, "detail")] == reasons
        assert all(record.ts == now for record in records)


def test_journal_entries_are_numbered_in_one_sequence_with_the_engines_own():
    ticks = ticks_of(table_of(), ["100", "100"])
    hole = InputRecord(0, 0, InputKind.DROP, START, '{"first": 1, "last": 4}')
    engine = ExecutionEngine(settings_of(), ticks.table)
    records = engine.on_step(
        DecisionStep(ticks, (signal_at(ticks, 0, BUY, 1),), (hole, hole)), decided_at=START + 9 * SECOND
    )
    assert [(record.n, record.kind.value) for record in records if isinstance(record, InputRecord)] == [
        (1, "DROP"), (2, "DROP"), (3, "LATE_DECISION"),
    ]  # fmt: skip
    assert records[0].detail == hole.detail


@pytest.mark.scenario("S14", "G0")
def test_shadow_is_the_default_and_live_only_lays_out_what_it_wants_sent():
    assert settings_of().mode.value == "SHADOW"
    ticks = ticks_of(table_of(), ["100", "100"])
    engine = ExecutionEngine(settings_of("live", live_armed=True), ticks.table)
    records = engine.on_step(DecisionStep(ticks, (signal_at(ticks, 0, BUY, 1),)))
    (want,) = engine.drain_requests()
    assert isinstance(want, SubmitOrder)
    (row,) = [record for record in records if isinstance(record, OrderRecord)]
    assert (row.order_id, row.status.value, row.is_shadow) == (want.order.order_id, "SUBMITTED", False)
    assert not [record for record in engine.finish() if isinstance(record, TradeRecord)]
    assert engine.drain_requests() == ()


def test_a_cancel_finds_nothing_to_cancel_in_shadow():
    ticks = ticks_of(table_of(), ["100", "100"])
    cancel = signal_at(ticks, 1, BUY, 1, cancels="O1")
    outcome = run(settings_of(), ticks, [signal_at(ticks, 0, BUY, 1), cancel])
    assert outcome.reasons == ["UNKNOWN_ORDER"]
