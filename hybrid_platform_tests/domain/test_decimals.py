"""Strict decimals and integer units: external numbers are exact or rejected."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.decimals import INT64_MAX, canonical, from_units, parse_decimal, to_units
from hybrid_platform.domain.instruments import clean_symbol


@pytest.mark.parametrize(
    "bad",
    ["1_000", "١٢٣", " 1", "1 ", "nan", "inf", "-inf", "1e999", "", "-", ".", "0x10", "1,5", "1e200000", "9" * 5000,
     float("nan"), float("inf"), True, None, 10**100, Decimal("NaN"), Decimal("1e99"), "\x00", "１２"],
)  # fmt: skip
def test_text_that_is_not_a_decimal_is_rejected(bad):
    with pytest.raises(ValueError, match="expected"):
        parse_decimal(bad)


@pytest.mark.parametrize(
    ("given_as", "value"),
    [
        (1, "1"),
        (0.1, "0.1"),
        ("0.10", "0.10"),
        ("1e-7", "1E-7"),
        (Decimal("2.50"), "2.50"),
        ("-.5", "-0.5"),
        ("5.", "5"),
    ],
)
def test_numbers_count_by_their_shortest_form(given_as, value):
    assert parse_decimal(given_as) == Decimal(value)


@given(st.integers(-INT64_MAX, INT64_MAX), st.integers(0, 18))
def test_units_convert_both_ways_exactly(units, scale):
    assert to_units(from_units(units, scale), scale) == units


@pytest.mark.parametrize(("text", "words"), [("0.0000000001", "at most 9 decimals"), ("9223372037", "units of 1e-9")])
def test_numbers_that_do_not_fit_are_rejected(text, words):
    with pytest.raises(ValueError, match=words):
        to_units(Decimal(text), 9)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12))
def test_canonical_text_is_unique(number):
    assert Decimal(canonical(number)) == number
    assert canonical(number) == canonical(number.normalize()) == canonical(number * Decimal("1.000"))


@pytest.mark.parametrize(
    "bad",
    ["", " ", "'; DROP TABLE", "<img onerror>", "[a](b)", "A|B", "`A`", "=HYPERLINK(1)", "A\u202eB", "A\u200bB",
     "ＡＢＣ", "A" * 10_000, "\x1b[31mA", "A\r\nB", None, 5, "-A", "/A"],
)  # fmt: skip
def test_hostile_symbols_are_rejected(bad):
    with pytest.raises(ValueError, match="expected a symbol"):
        clean_symbol(bad)


def test_symbols_are_upper_cased():
    assert clean_symbol("btc-usdt_perp.x/y:z") == "BTC-USDT_PERP.X/Y:Z"
