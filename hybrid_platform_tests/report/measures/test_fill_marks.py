"""Marks of fills in figures."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.report.measures.fill_marks import MAX_MARKS, FillMarks


@given(st.integers(1, 2 * MAX_MARKS), st.lists(st.integers(1, 80), min_size=1, max_size=9))
def test_marks_do_not_depend_on_how_fills_are_split(count, cuts):
    """Few fills are marked one by one; many fills share a bounded number of marks."""
    rng = np.random.default_rng(count)
    ts, price, qty = np.sort(rng.integers(0, 1_000, count)), rng.uniform(1, 2, count), rng.uniform(1, 9, count)
    whole, pieces = FillMarks(0, 1_000), FillMarks(0, 1_000)
    item, side = np.zeros(count, dtype=np.int64), np.ones(count, dtype=np.int64)
    whole.add(item, side, ts, price, qty)
    starts = [0, *(at for at in np.cumsum(cuts).tolist() if at < count), count]
    for a, b in pairwise(starts):
        pieces.add(item[a:b], side[a:b], ts[a:b], price[a:b], qty[a:b])
    found = whole.points(0, 1)
    for one, other in zip(found, pieces.points(0, 1), strict=True):
        np.testing.assert_allclose(one, other, atol=1)
    assert (whole.count(0), len(whole.points(0, -1)[0]), whole.count(1)) == (count, 0, 0)
    assert len(found[0]) == count if count <= MAX_MARKS else 0 < len(found[0]) <= MAX_MARKS
    assert count > MAX_MARKS or found[1].tolist() == price.tolist()
    assert price.min() - 1e-9 <= found[1].min() and found[1].max() <= price.max() + 1e-9
