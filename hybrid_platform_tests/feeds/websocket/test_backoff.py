"""Backoff: within its limits, random inside them, and from the start again after a success (S3)."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.feeds.websocket.backoff import Backoff


@pytest.mark.scenario("S3")
def test_waits_double_up_to_the_maximum():
    backoff = Backoff(0.5, 30.0, Random(1))
    limits = []
    for _ in range(9):
        backoff.failed()
        limits.append(backoff.limit_s())
    assert limits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@given(st.floats(0.001, 10), st.floats(10, 1000), st.integers(0, 2**32), st.integers(1, 2_000))
def test_a_wait_is_never_longer_than_its_limit(initial, maximum, seed, failures):
    backoff = Backoff(initial, maximum, Random(seed))
    for _ in range(failures):
        assert 0 <= backoff.failed() <= backoff.limit_s() <= maximum
    assert backoff.failures == failures


def test_the_jitter_fills_the_whole_range():
    backoff = Backoff(1.0, 1.0, Random(3))
    waits = [backoff.failed() for _ in range(500)]
    assert min(waits) < 0.05
    assert max(waits) > 0.95


def test_two_clients_do_not_come_back_in_step():
    one, two = Backoff(1, 60, Random(1)), Backoff(1, 60, Random(2))
    assert [one.failed() for _ in range(5)] != [two.failed() for _ in range(5)]


def test_a_success_starts_the_count_again():
    backoff = Backoff(0.5, 30, Random(1))
    for _ in range(5):
        backoff.failed()
    backoff.succeeded()
    assert backoff.failures == 0
    backoff.failed()
    assert backoff.limit_s() == 0.5
