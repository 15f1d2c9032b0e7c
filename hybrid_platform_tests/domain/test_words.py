"""Counts in messages."""

from __future__ import annotations

from hybrid_platform.domain.words import counted


def test_one_is_one_and_every_other_number_is_many():
    assert [counted(n, "tick") for n in (0, 1, 2, 2_000)] == ["0 ticks", "1 tick", "2 ticks", "2,000 ticks"]
