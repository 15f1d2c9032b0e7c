"""Recent ids: exact within the window, never new after it, and of bounded size (I3)."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.trading.recent_ids import RecentIds


@pytest.mark.scenario("I3")
@given(st.lists(st.integers(0, 30), max_size=200))
def test_repetitions_within_the_window_are_counted(keys: list[int]):
    ids, seen = RecentIds(window=64), []
    for place, key in enumerate(keys):
        seen.append(key)
        assert ids.record(f"S{key}", place) == seen.count(key)


@pytest.mark.scenario("I3")
@given(st.integers(1, 8), st.integers(9, 60))
def test_a_forgotten_id_never_counts_as_new(window: int, count: int):
    """An id below the highest forgotten number counts as known."""
    ids = RecentIds(window)
    assert [ids.record(f"S{place}", place) for place in range(count)] == [1] * count
    # The last forgotten id may share its number with a new one; all before it count as known.
    for place in range(count - window - 1):
        assert ids.record(f"S{place}", place) == 2


@pytest.mark.scenario("S6", "I3")
def test_memory_is_bounded():
    ids = RecentIds(window=100)
    for place in range(10_000):
        ids.record(f"S{place}", place)
    assert len(ids._seen) == 100
    assert sys.getsizeof(ids._seen) < 40_000
