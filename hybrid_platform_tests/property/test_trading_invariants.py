"""Invariants I1 to I4 and the chain of records over generated sessions, in SHADOW and in PAPER."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_platform.domain.orders import TradeRecord
from hybrid_platform.trading.accounts import rebuild_account
from hybrid_platform_tests.property.trading_oracle import (
    MARKET_WISHES,
    SESSIONS,
    Caps,
    check_account,
    check_links,
    make_session,
    paper,
    shadow,
)
from hybrid_platform_tests.trading.market import run

MODES = st.one_of(st.none(), st.integers(0, 50))
"""None: SHADOW, else PAPER with that seed."""
QUICK = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


def settings_for(mode: int | None, **risk: Any):
    return shadow(**risk) if mode is None else paper(mode, **risk)


class NetworkCounter:
    """Counts socket calls while armed: by Python's audit events, and by replaced functions that also refuse."""

    FORBIDDEN = ("socket", "create_connection", "create_server", "getaddrinfo", "gethostbyname", "socketpair", "fromfd")

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.is_armed = False
        sys.addaudithook(self._audit)  # cannot be removed, so all tests share one

    def _audit(self, event: str, args: object) -> None:
        if self.is_armed and event.startswith(
            ("socket.", "ssl.", "http.", "urllib.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn")
        ):
            self.calls.append(event)

    @contextmanager
    def armed(self) -> Iterator[None]:
        def forbid(name: str) -> Any:
            def refuse(*args: object, **kwargs: object) -> None:
                self.calls.append(name)
                raise PermissionError(f"{name}: forbidden in this test")

            return refuse

        real = {name: getattr(socket, name) for name in self.FORBIDDEN}
        try:
            for name in real:
                setattr(socket, name, forbid(name))
            self.is_armed = True
            yield
        finally:
            self.is_armed = False
            for name, function in real.items():
                setattr(socket, name, function)


NETWORK = NetworkCounter()


@pytest.mark.scenario("I1")
def test_network_counter_counts_calls():
    with NETWORK.armed():
        with pytest.raises(PermissionError):
            socket.create_connection(("127.0.0.1", 9))
        import _socket

        _socket.socket().close()
    assert NETWORK.calls == ["create_connection", "socket.__new__"]
    NETWORK.calls.clear()


@pytest.mark.scenario("I1", "S9")
@settings(max_examples=1000, **QUICK)
@given(SESSIONS, MODES, st.lists(st.integers(0, 25), max_size=3))
def test_no_sequence_of_signals_makes_a_network_call(rows, mode, cuts):
    ticks, signals = make_session(rows)
    with NETWORK.armed():
        outcome = run(settings_for(mode), ticks, signals, cuts)
    assert NETWORK.calls == []
    assert len(outcome.signals) == len(signals)
    check_links(outcome.records)


@pytest.mark.scenario("I2")
@settings(max_examples=500, **QUICK)
@given(SESSIONS, MODES)
def test_caps_are_never_exceeded_and_veto_nothing_within(rows, mode):
    """Every order is within the caps, and every order vetoed by a cap would have exceeded it."""
    ticks, signals = make_session(rows)
    chosen = settings_for(mode)
    Caps(chosen, ticks, run(chosen, ticks, signals).records).check()


@pytest.mark.scenario("I2")
@settings(max_examples=200, **QUICK)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.integers(80, 130),
            st.just(40),
            st.just(1),
            st.lists(MARKET_WISHES, min_size=1, max_size=2),
        ),
        min_size=3,
        max_size=25,
    ),
    st.integers(100, 4000),
)
def test_symbol_caps_hold_while_prices_move(rows, cap):
    ticks, signals = make_session(rows)
    chosen = shadow(max_symbol_exposure_usd=cap, max_exposure_usd=10**9)
    outcome = run(chosen, ticks, signals)
    Caps(chosen, ticks, outcome.records).check()
    assert {veto.detail.split(":")[0] for veto in outcome.vetoes} <= {"max_symbol_exposure_usd"}


@pytest.mark.scenario("S9")
@settings(max_examples=200, **QUICK)
@given(SESSIONS)
def test_shadow_orders_fill_at_their_tick(rows):
    """Price, quantity, fees and time of every fill follow the stated model."""
    ticks, signals = make_session(rows)
    outcome = run(shadow(), ticks, signals)
    assert all(record.is_shadow for record in [*outcome.orders.values(), *outcome.trades])
    limits = {signal.signal_id: signal.limit_price for signal in signals}
    for trade in outcome.trades:
        order = outcome.orders[trade.order_id]
        last = ticks.tick(order.seq - 1)
        clock = int(ticks.ts_recv[: order.seq].max())
        worse = last.price * (Decimal("1.01") if order.side == "BUY" else Decimal("0.99"))
        limit = limits[order.signal_id]
        expected = worse if limit is None else min(worse, limit) if order.side == "BUY" else max(worse, limit)
        assert (trade.fill_price, trade.fill_qty, trade.symbol, trade.ts) == (
            expected,
            order.qty,
            last.symbol,
            clock,
        )
        assert trade.fees == expected * order.qty / 1000


@pytest.mark.scenario("I3", "I4")
@settings(max_examples=200, **QUICK)
@given(SESSIONS, MODES, st.randoms(use_true_random=False))
def test_account_is_rebuilt_from_its_trades(rows, mode, chance):
    """The account equals the sum of its trades, also when they come shuffled and repeated."""
    ticks, signals = make_session(rows)
    chosen = settings_for(mode)
    outcome = run(chosen, ticks, signals)
    positions = outcome.engine.account.positions()
    check_account(outcome.records, positions)
    trades = [record for record in outcome.records if isinstance(record, TradeRecord)]
    again = trades + chance.sample(trades, k=len(trades) // 2)
    chance.shuffle(again)
    assert rebuild_account(again, {item.key: item for item in ticks.table}).positions() == positions


@pytest.mark.scenario("S8", "I3")
@settings(max_examples=200, **QUICK)
@given(
    SESSIONS,
    MODES,
    st.lists(st.integers(0, 25), max_size=6),
    st.sampled_from(
        ({}, {"max_drawdown_usd": 5, "max_daily_loss_usd": 9, "halt_after_rejects": 2, "halt_after_vetoes": 3})
    ),
)
def test_records_do_not_depend_on_batch_cuts(rows, mode, cuts, limits):
    ticks, signals = make_session(rows)
    chosen = settings_for(mode, **limits)
    whole, pieces = run(chosen, ticks, signals), run(chosen, ticks, signals, cuts)
    assert pieces.records == whole.records
    assert pieces.engine.counters == whole.engine.counters


@pytest.mark.scenario("I3")
@settings(max_examples=200, **QUICK)
@given(SESSIONS, MODES)
def test_repeated_signal_only_adds_its_veto(rows, mode):
    """All other records stay the same."""
    ticks, signals = make_session(rows)
    chosen = settings_for(mode)
    once = run(chosen, ticks, signals)
    twice = run(chosen, ticks, [signal for signal in signals for _ in range(2)])
    extra = {f"{signal.signal_id}#2" for signal in signals}
    assert [record for record in twice.records if getattr(record, "signal_id", None) not in extra] == once.records
    assert {veto.signal_id for veto in twice.vetoes if veto.reason == "DUPLICATE_SIGNAL"} == extra
