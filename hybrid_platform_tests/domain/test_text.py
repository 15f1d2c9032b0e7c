"""Wording that messages share."""

from __future__ import annotations

from hybrid_platform.domain.text import plural


def test_plural_agrees_with_its_count():
    assert [plural(n, "tick") for n in (0, 1, 2, 2_000)] == ["0 ticks", "1 tick", "2 ticks", "2,000 ticks"]
