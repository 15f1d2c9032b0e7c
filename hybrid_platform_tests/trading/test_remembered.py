"""What is remembered of ids: exact for the last ones, never new again after that, and of bounded size (I3)."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.trading.recent_ids import RecentIds


@pytest.mark.scenario("I3")
@given(st.lists(st.integers(0, 30), max_size=200))
def test_within_the_window_every_repetition_is_counted(keys: list[int]):
    remembered, seen = RecentIds(window=64), []
    for place, key in enumerate(keys):
        seen.append(key)
        assert remembered.record(f"S{key}", place) == seen.count(key)


@pytest.mark.scenario("I3")
@given(st.integers(1, 8), st.integers(9, 60))
def test_an_id_that_was_forgotten_is_never_new_again(window: int, count: int):
    remembered = RecentIds(window)
    assert [remembered.record(f"S{place}", place) for place in range(count)] == [1] * count
    # The last one forgotten may stand beside a new one of the same place; all before it were here.
    for place in range(count - window - 1):
        assert remembered.record(f"S{place}", place) == 2


@pytest.mark.scenario("S6", "I3")
def test_memory_is_bounded_however_many_ids_come():
    remembered = RecentIds(window=100)
    for place in range(10_000):
        remembered.record(f"S{place}", place)
    assert len(remembered._seen) == 100
    assert sys.getsizeof(remembered._seen) < 40_000
