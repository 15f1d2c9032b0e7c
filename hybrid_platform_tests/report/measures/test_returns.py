"""Return and risk against figures of empyrical, values by hand, and plain loops."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.report.measures.returns import (
    YEAR_S,
    DrawdownTracker,
    calmar,
    sharpe,
    simple_returns,
    sortino,
    volatility,
)

# empyrical-reloaded 0.7.1: sharpe_ratio, sortino_ratio, annual_volatility of these returns (annualization=…).
EMPYRICAL = [
    (
        [0.01, -0.02, 0.005, 0.03, -0.01, 0.0, 0.002, -0.004],
        252,
        (1.748348412672419, 3.2119869964114547, 0.23422104943834576),
    ),
    (
        [0.001, -0.003, 0.002, -0.001, -0.0005, 0.004, -0.0025, 0.003, -0.006, 0.0071],
        8760,
        (10.04944909931786, 16.74774185204851, 0.35739272516378956),
    ),
]


@pytest.mark.parametrize(("returns", "per_year", "expected"), EMPYRICAL)
def test_sharpe_sortino_and_volatility_equal_empyrical(returns, per_year, expected):
    values = np.array(returns)
    found = sharpe(values, per_year), sortino(values, per_year), volatility(values, per_year)
    assert found == pytest.approx(expected, rel=1e-12)


def test_undefined_ratios_are_none():
    still = np.array([0.0, 0.0, 0.0])
    assert sharpe(still, 252) is None
    assert sortino(np.array([0.1, 0.2]), 252) is None
    assert sharpe(np.array([0.1]), 252) is None
    assert calmar(0.1, 60.0, 0.0) is None
    assert calmar(None, 60.0, 0.1) is None
    assert len(simple_returns(np.array([0.0, 1.0]))) == 0


def test_calmar_is_the_annual_return_over_the_drawdown():
    assert calmar(0.01, YEAR_S / 10, 0.05) == pytest.approx(2.0)


def watch(values: list[float], cuts: list[int] = [], start: float = 100.0) -> DrawdownTracker:  # noqa: B006
    found = DrawdownTracker(0, start)
    clock, equity = np.arange(1, len(values) + 1, dtype=np.int64), np.array(values)
    edges = sorted({0, len(values), *(cut % (len(values) + 1) for cut in cuts)})
    for a, b in pairwise(edges):
        found.update(clock[a:b], equity[a:b])
    return found


def test_a_drawdown_by_hand():
    #          peak 110 at 2, trough 95 at 4, recovered at 6; then 112 at 7, 111 below it to the end
    found = watch([105, 110, 100, 95, 104, 110, 112, 111, 111, 111])
    assert (found.usd, found.from_peak) == (15.0, 110.0)
    assert (found.peak_at, found.trough_at, found.recovered_at, found.length) == (2, 4, 6, 4)
    assert found.longest == 4


def test_equity_that_never_falls_has_no_drawdown():
    found = watch([100, 101, 102])
    assert (found.usd, found.length, found.longest) == (0.0, 0, 0)


def naive(values: list[float], start: float = 100.0) -> tuple[float, int, int, int | None, int]:
    peak, peak_at, worst = start, 0, (0.0, 0, 0, start)
    longest, was_below = 0, False
    for clock, value in enumerate(values, 1):
        if value >= peak:
            if was_below:
                longest = max(longest, clock - peak_at)
            peak, peak_at, was_below = value, clock, False
        else:
            was_below = True
            longest = max(longest, clock - peak_at)
            if peak - value > worst[0]:
                worst = (peak - value, peak_at, clock, peak)
    if not worst[0]:
        return 0.0, 0, 0, 0, longest
    after = (clock for clock, value in enumerate(values, 1) if clock > worst[2] and value >= worst[3])
    return worst[0], worst[1], worst[2], next(after, None), longest


@given(st.lists(st.integers(90, 110).map(float), min_size=1, max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_a_drawdown_equals_that_of_a_plain_loop(values, cuts):
    """The result does not depend on how the values are split into blocks."""
    found = watch(values, cuts)
    assert (found.usd, found.peak_at, found.trough_at, found.recovered_at, found.longest) == naive(values)
