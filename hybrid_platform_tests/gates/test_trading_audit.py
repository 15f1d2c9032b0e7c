"""The trading audit rebuilds the account and the caps from the rows, and reports rows that contradict each other."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_platform.gates.trading_audit import TradingAudit, audit_trading
from hybrid_platform_tests.recording import Recorder, SessionEvent, make_ticks, random_walk, session_events

NUMBER = "session_no = (SELECT session_no FROM sessions WHERE session_id = :id)"


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    return Recorder(tmp_path_factory.mktemp("audited") / "data")


def audited(
    recorder: Recorder, moves: list[Any], doings: list[SessionEvent], **sections: Any
) -> tuple[Any, TradingAudit]:
    stated = recorder.settings(**sections)
    recorded = recorder.record(stated, make_ticks(moves), doings)
    return recorded, audit_trading(recorder.reading, recorded.session_id, stated)


MOVES = st.lists(
    st.tuples(st.integers(0, 1), st.integers(96, 104), st.sampled_from((0, 1, 30, 700))), min_size=12, max_size=60
)
ACTS = st.lists(session_events(["show", "drop", "idle", "command"], 15), max_size=6)


@pytest.mark.scenario("I2", "I4", "S11")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(moves=MOVES, doings=ACTS, mode=st.sampled_from(("SHADOW", "PAPER")), cap=st.sampled_from((300, 1000, 100_000)))
def test_a_sound_session_has_the_engines_account_and_no_fault(recorder, moves, doings, mode, cap):
    risk = {"max_symbol_exposure_usd": cap, "max_open_orders": 3, "max_exposure_usd": 1500}
    recorded, found = audited(recorder, moves, doings, mode=mode, risk=risk)
    assert found.account == recorded.account.snapshot()
    assert found.faults == ()
    assert found.worst_symbol_usd <= cap
    assert found.worst_total_usd <= 1500 or not found.is_exact
    assert found.max_open_orders <= 3


def test_caps_by_hand(recorder):
    # `BusyStrategy` buys 3 at tick 2, at 100, with the default slippage of 10 bps as collar.
    free = {"max_symbol_exposure_usd": 10**6, "max_exposure_usd": 10**6, "max_open_orders": 100}
    _, found = audited(recorder, [(0, 100, 10)] * 3, [], mode="SHADOW", risk=free)
    assert (found.orders, found.max_open_orders) == (1, 1)
    assert found.worst_symbol_usd == found.worst_total_usd == Decimal("300.3")
    assert found.is_exact


@pytest.mark.scenario("I4", "S11")
@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("DELETE FROM trade_rows WHERE {s} AND n = 2", "expected a trade of order"),
        ("DELETE FROM order_event_rows WHERE {s} AND status = 'INITIALIZED' AND n = 1", "expected an order that may"),
        ("UPDATE trade_rows SET fill_qty = '500' WHERE {s} AND n = 1", "at most the open quantity of its order"),
        ("UPDATE trade_rows SET fill_qty = '0.5' WHERE {s} AND n = 1", "expected FILLED with no open quantity"),
    ],
)
def test_rows_that_do_not_fit_each_other_are_named(recorder, statement, fault):
    stated = recorder.settings(mode="SHADOW")
    recorded = recorder.record(stated, make_ticks(random_walk()))
    recorder.tamper(statement.format(s=NUMBER), id=recorded.session_id)
    found = audit_trading(recorder.reading, recorded.session_id, stated)
    assert any(fault in each for each in found.faults), found.faults


def test_an_account_from_a_changed_price_is_another_account(recorder):
    stated = recorder.settings()
    recorded = recorder.record(stated, make_ticks(random_walk()))
    recorder.tamper(f"UPDATE trade_rows SET fees = fees || '1' WHERE {NUMBER} AND n = 1", id=recorded.session_id)
    found = audit_trading(recorder.reading, recorded.session_id, stated)
    assert found.faults == ()
    assert found.account != recorded.account.snapshot()


@pytest.mark.scenario("S7")
def test_an_order_on_a_stale_tick_is_counted(recorder):
    stated = recorder.settings(mode="SHADOW")
    recorded = recorder.record(stated, make_ticks([(0, 100, 10)] * 8))
    tick = f"{NUMBER} AND seq = 2"
    recorder.tamper(f"UPDATE tick_rows SET ts_event = ts_event - 3000000000 WHERE {tick}", id=recorded.session_id)
    assert audit_trading(recorder.reading, recorded.session_id, stated).stale_orders == 1
