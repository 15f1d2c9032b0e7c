"""Trade ids: canonical 64-bit integers as numbers, everything else as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.ticks import parse_trade_ref


@given(st.integers(-(2**63), 2**63 - 1))
def test_canonical_integers_become_numbers(number):
    assert parse_trade_ref(str(number)) == number


@pytest.mark.parametrize("text", ["007", "-0", "+5", "1.0", "1e3", str(2**63), str(-(2**63) - 1), "a-b", "x" * 64])
def test_other_ids_stay_text(text):
    assert parse_trade_ref(text) == text


@pytest.mark.parametrize("text", ["", " ", "a b", "5 ", "é", "x" * 65, "a\n", "\0"])
def test_unprintable_or_long_ids_are_refused(text):
    with pytest.raises(ValueError, match="trade id"):
        parse_trade_ref(text)
