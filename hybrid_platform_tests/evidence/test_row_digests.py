"""Row digests detect changed ticks and inputs, and locate a single changed row."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.evidence.records import RowFigures
from hybrid_platform.evidence.row_digests import InputDigest, TickDigest, find_changed_row
from hybrid_platform_tests.recording import make_ticks

PRICES = st.lists(st.integers(1, 1000), min_size=1, max_size=60)


def market(prices: list[int]) -> TickBatch:
    return make_ticks([(price % 2, price, price % 7) for price in prices])


def figures(ticks: TickBatch, cuts: list[int] | None = None) -> RowFigures:
    digest = TickDigest()
    edges = sorted({0, len(ticks), *(cut % (len(ticks) + 1) for cut in cuts or [])})
    for start, end in pairwise(edges):
        digest.add(ticks[start:end])
    return digest.figures()


@given(PRICES, st.lists(st.integers(0, 60), max_size=5))
def test_a_digest_does_not_depend_on_batches(prices, cuts):
    ticks = market(prices)
    assert figures(ticks, cuts) == figures(ticks)


@pytest.mark.scenario("S8")
@given(
    PRICES,
    st.integers(0, 59),
    st.sampled_from(("instrument", "price", "size", "side", "ts_event", "ts_recv")),
    st.integers(1, 2**40),
)
def test_one_changed_row_is_found(prices, place, column, by):
    ticks, changed = market(prices), market(prices)
    place %= len(ticks)
    values = getattr(changed, column).copy()
    values[place] += 1 if column in {"side", "instrument"} else by
    setattr(changed, column, values)
    assert figures(changed).sha256 != figures(ticks).sha256
    assert find_changed_row(figures(ticks), figures(changed)) == place + 1


@pytest.mark.scenario("S8")
@given(PRICES, st.integers(0, 59))
def test_one_removed_or_added_tick_is_found(prices, place):
    ticks = market(prices)
    place %= len(ticks)
    without = ticks[np.arange(len(ticks)) != place]
    assert find_changed_row(figures(ticks), figures(without)) == place + 1
    assert find_changed_row(figures(without), figures(ticks)) == place + 1


@given(st.lists(st.integers(1, 1000), min_size=3, max_size=60))
def test_several_changed_rows_are_detected_but_not_located(prices):
    ticks, changed = market(prices), market(prices)
    changed.price = changed.price.copy()
    changed.price[[0, 2]] += [7, 9]
    assert figures(changed).sha256 != figures(ticks).sha256
    assert find_changed_row(figures(ticks), figures(changed)) is None


@pytest.mark.scenario("S8")
@given(st.lists(st.text(max_size=5), min_size=2, max_size=30), st.integers(0, 29), st.booleans())
def test_one_changed_or_removed_input_is_found(details, place, removed):
    rows = [(n, 5, "TIMER", 7, detail) for n, detail in enumerate(details, 1)]
    place %= len(rows)
    other = [row for row in rows if row is not rows[place] or not removed]
    if not removed:
        other[place] = (*rows[place][:3], 8, rows[place][4])
    found = []
    for each in (rows, other):
        digest = InputDigest()
        digest.add(each)
        found.append(digest.figures())
    assert found[0].sha256 != found[1].sha256
    assert find_changed_row(*found) == place + 1
