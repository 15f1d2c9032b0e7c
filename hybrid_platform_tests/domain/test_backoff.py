"""Exponential backoff: limits, jitter, and the reset after a success (S3)."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.backoff import JitteredBackoff, backoff_s


@pytest.mark.scenario("S3")
def test_waits_double_up_to_the_maximum():
    backoff = JitteredBackoff(0.5, 30.0, Random(1))
    limits = []
    for _ in range(9):
        backoff.next_wait_s()
        limits.append(backoff.limit_s())
    assert limits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@given(st.floats(0.001, 10), st.floats(10, 1000), st.integers(0, 2**32), st.integers(1, 2_000))
def test_a_wait_is_never_longer_than_its_limit(initial, maximum, seed, failures):
    backoff = JitteredBackoff(initial, maximum, Random(seed))
    for _ in range(failures):
        assert 0 <= backoff.next_wait_s() <= backoff.limit_s() <= maximum
    assert backoff.failures == failures


def test_the_jitter_fills_the_whole_range():
    backoff = JitteredBackoff(1.0, 1.0, Random(3))
    waits = [backoff.next_wait_s() for _ in range(500)]
    assert min(waits) < 0.05
    assert max(waits) > 0.95


def test_two_clients_wait_differently():
    one, two = JitteredBackoff(1, 60, Random(1)), JitteredBackoff(1, 60, Random(2))
    assert [one.next_wait_s() for _ in range(5)] != [two.next_wait_s() for _ in range(5)]


def test_a_reset_starts_the_count_again():
    backoff = JitteredBackoff(0.5, 30, Random(1))
    for _ in range(5):
        backoff.next_wait_s()
    backoff.reset()
    assert backoff.failures == 0
    backoff.next_wait_s()
    assert backoff.limit_s() == 0.5


def test_without_jitter_waits_double_up_to_the_maximum():
    """The form used by the supervisor and the webhooks; a huge count of failures does not overflow."""
    assert [backoff_s(n, 1.0) for n in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert [backoff_s(n, 10.0, 25.0) for n in (1, 2, 3, 10_000)] == [10, 20, 25, 25]
