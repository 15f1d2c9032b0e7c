"""Market state: last prices, the session clock, and lag at venues whose clock is not ours (S7)."""

from __future__ import annotations

import statistics
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.domain.orders import Side
from hybrid_platform.domain.statistics import MIN_SAMPLES, WINDOW, RunningMedianLag
from hybrid_platform.trading.market_state import MarketState, PrintSizes
from hybrid_platform_tests.trading.market import (
    SECOND,
    START,
    Print,
    make_settings,
    make_table,
    make_ticks,
    run,
    signal_at,
)

MS = 10**6


def fed(market, ticks, cuts=()):
    edges = sorted({0, len(ticks), *(cut % (len(ticks) + 1) for cut in cuts)})
    for start, end in pairwise(edges):
        market.begin_batch(ticks[start:end])
        market.end_batch()
    return market


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(0, 5), st.integers(-3, 3)), min_size=1, max_size=40
    ),
    st.lists(st.integers(0, 40), max_size=5),
    st.integers(1, 4),
)
def test_market_state_does_not_depend_on_batch_cuts(rows, cuts, instruments):
    """Prices, clock, print sizes and reference lag are equal however ticks are cut into batches."""
    table = make_table(*"ABCD"[:instruments])
    prints = [Print(price, size, index % instruments, START + at, lag) for index, price, size, (at, lag) in
              [(i, p, s, (n // 2 - s, lag)) for n, (i, p, s, lag) in enumerate(rows)]]  # fmt: skip
    ticks = make_ticks(table, prints)
    market = fed(MarketState(table, PrintSizes()), ticks, cuts)
    assert market.now == max(tick.at for tick in prints)
    assert market.seq == len(prints)
    for index in range(instruments):
        own = [tick for tick in prints if tick.index == index]
        if not own:
            assert market.last_price(index) is None
            continue
        last = own[-1]
        assert market.last_price(index) == (Decimal(last.price), last.at - last.lag, last.at)
        assert market.last_price_units()[index] == last.price * 10**9
        assert market.mean_print_size(index) == Decimal(sum(t.size for t in own) * 10**9 // len(own)).scaleb(-9)
    assert market.reference_lag("TEST") == reference([tick.lag for tick in prints])


def test_an_instrument_may_join_later():
    table = make_table("A")
    market = fed(MarketState(table), make_ticks(table, [5, 6]))
    table.intern("TEST", "B")
    fed(market, make_ticks(table, [Print(9, index=1)], first_seq=3))
    assert [market.price(0), market.price(1)] == [6, 9]


def test_the_clock_never_goes_back():
    table = make_table()
    market = fed(MarketState(table), make_ticks(table, [Print(1, at=START + 5), Print(1, at=START)]))
    market.advance_clock(START)
    assert market.now == START + 5


def test_sums_of_sizes_do_not_overflow():
    table = make_table()
    size = Decimal(2**63 - 1).scaleb(-9)
    market = fed(MarketState(table, PrintSizes()), make_ticks(table, [Print(1, size)] * 50))
    assert market.mean_print_size(0) == size


def reference(lags):
    """Return the reference lag by `RunningMedianLag`, the same rule computed one lag at a time."""
    running = RunningMedianLag()
    for lag in lags:
        running.observe(lag)
    median = statistics.median_low(lags[-WINDOW:]) if len(lags) >= MIN_SAMPLES else None
    assert running.median_ns == median
    return min(0, median or 0)


def freshness(lags_ms, last_ms, venues=1):
    """Judge one signal at the last print, after prints with the given lags; return the vetoes' details."""
    table = InstrumentTable()
    for venue in range(venues):
        table.intern(f"V{venue}", "ABC")
    prints = [Print(100, index=position % venues, lag=lag * MS) for position, lag in enumerate([*lags_ms, last_ms])]
    ticks = make_ticks(table, prints)
    return [veto.detail for veto in run(make_settings(), ticks, [signal_at(ticks, len(ticks) - 1, Side.BUY, 1)]).vetoes]


@pytest.mark.scenario("S7")
def test_receipt_before_event_is_not_stale_by_itself():
    """A single negative lag, however large, does not make data stale."""
    assert freshness([], -60_000) == []
    assert freshness([5] * 20, -60_000) == []


@pytest.mark.scenario("S7")
def test_lag_counts_from_the_median_if_clocks_disagree():
    """A negative median lag proves clock skew, and is subtracted."""
    skewed = [-1250] * 40
    assert freshness(skewed, 750) == []
    (detail,) = freshness(skewed, 751)
    assert detail == "event to receipt: limit 2000 ms, got 2001 ms beyond the median of 512, -1250 ms: clocks disagree"


@pytest.mark.scenario("S7")
def test_one_early_print_does_not_move_the_reference():
    assert freshness([10] * 20 + [-5000] + [10] * 5, 1990) == []


@pytest.mark.scenario("S7")
def test_a_venue_that_is_always_late_stays_late():
    assert len(freshness([3000] * 300, 3000)) == 1


@pytest.mark.scenario("S7")
def test_each_venue_has_its_own_clock():
    # Prints alternate: even positions at the venue that runs ahead, odd ones at the other; the last is the odd one's.
    lags = [-1250, 0] * 20 + [-1250]
    assert freshness(lags, 1999, venues=2) == []
    assert len(freshness(lags, 2001, venues=2)) == 1
    assert len(freshness([*lags, 0], 1000, venues=2)) == 1


@pytest.mark.scenario("S7")
@settings(max_examples=30)
@given(
    st.lists(st.integers(-3000, 3000), min_size=1, max_size=2 * WINDOW + 10), st.lists(st.integers(0, 500), max_size=4)
)
def test_the_lag_rule_does_not_depend_on_batch_cuts(lags, cuts):
    table = make_table()
    ticks = make_ticks(table, [Print(100, lag=lag * MS) for lag in lags])
    outcome = run(make_settings(), ticks, [signal_at(ticks, len(lags) - 1, Side.BUY, 1)], cuts)
    assert bool(outcome.vetoes) == (lags[-1] - reference(lags) > 2000)


def test_prices_of_another_scale_are_exact():
    table = InstrumentTable()
    table.add(Instrument("TEST", "ABC", price_scale=2))
    ticks = make_ticks(table, [Print(Decimal("0.000012345"))])
    assert fed(MarketState(table), ticks).price(0) == Decimal("123.45")
    assert SECOND == 10**9
