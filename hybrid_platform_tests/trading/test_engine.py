"""The execution engine: vetoes, data age, repeated signals, journal entries, LIVE's order requests (S7, S14, I3)."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import (
    DecisionStep,
    InputKind,
    InputRecord,
    OrderRecord,
    OrderType,
    Side,
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
    make_settings,
    make_steps,
    make_table,
    make_ticks,
    run,
    signal_at,
)

BUY, SELL = Side.BUY, Side.SELL


def test_orders_fill_at_the_price_of_their_own_tick():
    """Later ticks of the same batch do not change a fill."""
    ticks = make_ticks(make_table("A", "B"), [Print(100), Print(7, index=1), Print(200), Print(9, index=1), Print(300)])
    signals = [signal_at(ticks, 1, BUY, 1), signal_at(ticks, 2, BUY, 1), signal_at(ticks, 3, SELL, 1)]
    outcome = run(make_settings(**FREE), ticks, signals)
    assert [(trade.symbol, trade.fill_price) for trade in outcome.trades] == [("B", 7), ("A", 200), ("B", 9)]


@pytest.mark.scenario("I3")
def test_a_repeated_signal_is_vetoed_in_its_own_row():
    """The first signal's row, order and trade stay as they were."""
    ticks = make_ticks(make_table(), ["100"])
    signal = signal_at(ticks, 0, BUY, 1)
    outcome = run(make_settings(), ticks, [signal, signal, signal])
    assert [record.signal_id for record in outcome.signals] == ["S1", "S1#2", "S1#3"]
    assert [(veto.signal_id, veto.reason.value) for veto in outcome.vetoes] == [
        ("S1#2", "DUPLICATE_SIGNAL"), ("S1#3", "DUPLICATE_SIGNAL"),
    ]  # fmt: skip
    assert list(outcome.orders) == ["O1"]
    assert len(outcome.trades) == 1


def test_an_unseen_instrument_is_vetoed():
    table = make_table("ABC", "XYZ")
    ticks = make_ticks(table, ["100"])
    unseen = msgspec.structs.replace(signal_at(ticks, 0, BUY, 1), instrument=table[1])
    unlisted = msgspec.structs.replace(unseen, instrument=Instrument("TEST", "QQQ"), signal_id="S1.2")
    outcome = run(make_settings(), ticks, [unseen, unlisted])
    assert outcome.reasons == ["UNKNOWN_INSTRUMENT"] * 2
    assert "has not been seen" in outcome.vetoes[0].detail


def test_a_quote_without_a_dollar_rate_is_vetoed():
    ticks = make_ticks(make_table("SOL/EUR"), ["100"])
    outcome = run(make_settings(), ticks, [signal_at(ticks, 0, BUY, 1)])
    assert outcome.reasons == ["UNKNOWN_INSTRUMENT"]
    assert "no rate for its quote 'EUR'" in outcome.vetoes[0].detail
    allowed = make_settings(risk={"usd_rates": {"EUR": "1.1"}})
    assert run(allowed, ticks, [signal_at(ticks, 0, BUY, 1)]).reasons == []


def test_an_inactive_instrument_is_vetoed():
    ticks = make_ticks(make_table(stated=[Instrument("TEST", "ABC", active=False, inferred=False)]), ["100"])
    assert run(make_settings(), ticks, [signal_at(ticks, 0, BUY, 1)]).reasons == ["UNKNOWN_INSTRUMENT"]


@pytest.mark.parametrize(
    "terms",
    [{"size": Decimal(0)}, {"size": Decimal(-1)}, {"size": Decimal("NaN")}, {"size": Decimal("Infinity")},
     {"size": 0.1}, {"type": OrderType.LIMIT}, {"limit_price": Decimal(1)}, {"side": "BUY"},
     {"type": OrderType.LIMIT, "limit_price": Decimal(0)}, {"time_in_force": TimeInForce.GTD},
     {"expires_at": START + SECOND}, {"time_in_force": TimeInForce.GTD, "expires_at": START}],
    ids=str,
)  # fmt: skip
def test_an_invalid_order_is_vetoed(terms):
    ticks = make_ticks(make_table(), ["100"])
    bad = msgspec.structs.replace(signal_at(ticks, 0, BUY, 1), **terms)
    assert run(make_settings(), ticks, [bad]).reasons == ["INVALID_SIGNAL"]


@pytest.mark.scenario("S7", "L2")
def test_data_older_than_the_limit_is_stale():
    """Data exactly at the limit is fresh."""
    limit = 2 * SECOND
    for lag, reasons in ((limit, []), (limit + 1, ["STALE_DATA"]), (-limit - 1, [])):
        ticks = make_ticks(make_table(), [Print(100, lag=lag)])
        outcome = run(make_settings(), ticks, [signal_at(ticks, 0, BUY, 1)])
        assert outcome.reasons == reasons, lag
    ticks = make_ticks(make_table(), [Print(100, lag=limit + 1)])
    assert (
        "limit 2000 ms, got 2000.000001 ms"
        in run(make_settings(), ticks, [signal_at(ticks, 0, BUY, 1)]).vetoes[0].detail
    )


@pytest.mark.scenario("S7", "L2")
def test_a_late_decision_is_vetoed_and_reproduced():
    """The instant of the decision is journalled, and gives the same veto in a replay."""
    ticks = make_ticks(make_table(), ["100", "100"])
    steps = make_steps(ticks, [signal_at(ticks, 0, BUY, 1), signal_at(ticks, 1, BUY, 1)])
    live = ExecutionEngine(make_settings(), ticks.table)
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
    again = ExecutionEngine(make_settings(), ticks.table, late={"S1": entry.ts})
    assert again.on_step(steps[0]) == records


@pytest.mark.scenario("S7", "L2")
def test_a_timer_signal_has_the_age_of_the_last_tick():
    table = make_table()
    ticks = make_ticks(table, ["100"])
    for age, reasons in ((2 * SECOND, []), (2 * SECOND + 1, ["STALE_DATA"])):
        engine = ExecutionEngine(make_settings(), table)
        engine.on_step(DecisionStep(ticks, ()))
        now = START + age
        signal = msgspec.structs.replace(signal_at(ticks, 0, BUY, 1), ts=now)
        records = engine.on_step(DecisionStep(ticks[:0], (signal,), timer=now))
        assert [record.reason.value for record in records if hasattr(record, "detail")] == reasons
        assert all(record.ts == now for record in records)


def test_journal_entries_share_one_sequence():
    """The strategy stage's entries and the engine's own are numbered together."""
    ticks = make_ticks(make_table(), ["100", "100"])
    hole = InputRecord(0, 0, InputKind.DROP, START, '{"first": 1, "last": 4}')
    engine = ExecutionEngine(make_settings(), ticks.table)
    records = engine.on_step(
        DecisionStep(ticks, (signal_at(ticks, 0, BUY, 1),), (hole, hole)), decided_at=START + 9 * SECOND
    )
    assert [(record.n, record.kind.value) for record in records if isinstance(record, InputRecord)] == [
        (1, "DROP"), (2, "DROP"), (3, "LATE_DECISION"),
    ]  # fmt: skip
    assert records[0].detail == hole.detail


@pytest.mark.scenario("S14", "G0")
def test_live_only_queues_order_requests():
    """SHADOW is the default mode; in LIVE the order is SUBMITTED, and waits as a request."""
    assert make_settings().mode.value == "SHADOW"
    ticks = make_ticks(make_table(), ["100", "100"])
    engine = ExecutionEngine(make_settings("live", live_armed=True), ticks.table)
    records = engine.on_step(DecisionStep(ticks, (signal_at(ticks, 0, BUY, 1),)))
    (request,) = engine.drain_requests()
    assert isinstance(request, SubmitOrder)
    (row,) = [record for record in records if isinstance(record, OrderRecord)]
    assert (row.order_id, row.status.value, row.is_shadow) == (request.order.order_id, "SUBMITTED", False)
    assert not [record for record in engine.finish() if isinstance(record, TradeRecord)]
    assert engine.drain_requests() == ()
