"""Quantiles, histograms, and the running median lag with its rule for clocks that disagree (S7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.statistics import Histogram, RunningMedianLag, quantile

MS = 1_000_000
LAGS = st.lists(st.integers(-(10**12), 10**12), max_size=200)


@given(st.lists(st.integers(), min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_is_the_lower_of_two_neighbours(values, share):
    """A share of the values lies at or below the quantile, and the ends are the minimum and the maximum."""
    ordered = sorted(values)
    found = quantile(ordered, share)
    assert found in values
    assert quantile(ordered, 0.5, higher=True) == ordered[len(ordered) // 2]
    assert sum(value <= found for value in values) >= share * (len(values) - 1)
    assert (quantile(ordered, 0), quantile(ordered, 1)) == (min(values), max(values))


def test_a_histogram_counts_values_up_to_each_bound():
    histogram = Histogram((-1.0, 0.0, 0.5))
    for value_ns in (-2_000_000_000, -1_000_000_000, 0, 500_000_000, 500_000_001, 10**18):
        histogram.observe(value_ns)
    assert histogram.cumulative() == [(-1.0, 2), (0.0, 3), (0.5, 4), (float("inf"), 6)]
    assert histogram.sum_s == pytest.approx(10**9 - 2.5 + 0.5)
    with pytest.raises(ValueError, match="ascending"):
        Histogram((1.0, 1.0))


@given(LAGS, st.integers(1, 50))
def test_the_median_covers_the_last_window(lags, window):
    lag = RunningMedianLag(window=window, min_samples=1)
    for value in lags:
        lag.observe(value)
    kept = sorted(lags[-window:])
    assert len(lag) == len(kept)
    assert lag.median_ns == (kept[(len(kept) - 1) // 2] if kept else None)


def test_there_is_no_median_before_enough_samples():
    lag = RunningMedianLag(window=10, min_samples=3)
    for _ in range(2):
        lag.observe(-5)
    assert lag.median_ns is None
    assert lag.staleness_ns(7) == 7
    assert not lag.clocks_disagree


@pytest.mark.scenario("S7")
def test_a_clock_behind_the_venues_does_not_make_old_data_look_fresh():
    lag = RunningMedianLag(min_samples=5)
    for _ in range(50):
        lag.observe(-1_250 * MS)
    assert lag.clocks_disagree
    assert lag.staleness_ns(-1_250 * MS) == 0
    assert lag.staleness_ns(1_000 * MS) == 2_250 * MS


@pytest.mark.scenario("S7")
def test_data_that_is_always_late_stays_late():
    lag = RunningMedianLag(min_samples=5)
    for _ in range(50):
        lag.observe(5_000 * MS)
    assert not lag.clocks_disagree
    assert lag.staleness_ns(5_000 * MS) == 5_000 * MS


@given(LAGS, st.integers(-(10**12), 10**12))
def test_staleness_is_never_negative_and_never_less_than_the_lag(lags, last):
    lag = RunningMedianLag(min_samples=1)
    for value in lags:
        lag.observe(value)
    assert lag.staleness_ns(last) >= max(0, last)


def test_quantiles_grow():
    lag = RunningMedianLag(min_samples=1)
    for value in range(101):
        lag.observe(value)
    assert [lag.quantile_ns(q) for q in (0, 0.5, 0.99, 1)] == [0, 50, 99, 100]


def test_a_window_without_room_is_refused():
    with pytest.raises(ValueError, match="min_samples"):
        RunningMedianLag(window=5, min_samples=6)
