"""Exact values from JSON text (numbers, times, ids), and samples without secrets."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.times import EARLIEST_NS, LATEST_NS
from hybrid_platform.feeds.websocket.parsing import (
    SAMPLE_CHARS,
    UNKNOWN_QUOTE,
    InvalidValueError,
    base_and_quote,
    make_sample,
    parse_price,
    parse_size,
    parse_time,
    parse_trade_id,
    redact,
)


def raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def iso(text: str) -> int:
    return parse_time(raw(f'"{text}"'), "iso")


@given(st.decimals(min_value="0.000000001", max_value="9000000000", places=9), st.booleans())
def test_a_number_is_as_exact_as_its_text_quoted_or_not(value, quoted):
    assert parse_price(raw(f'"{value}"' if quoted else str(value))) == value


@pytest.mark.parametrize(("text", "value"), [("5e-1", "0.5"), ("1E+2", "100"), ("0.10000", "0.1"), ('"1e-8"', "1e-8")])
def test_every_number_notation_is_exact(text, value):
    assert parse_size(raw(text)) == Decimal(value)


def test_numbers_never_become_floats():
    assert parse_price(raw("0.1000000000000000055511151231257827")) != Decimal("0.1")


@pytest.mark.parametrize("text", ["true", "null", "[1]", "{}", '""', '"0x10"', '"１"', '" 1"', "-1"])
def test_bad_numbers_are_refused(text):
    with pytest.raises(InvalidValueError, match="bad_price"):
        parse_price(raw(text))


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)), st.integers(0, 999), st.integers(6, 9))
def test_iso_times_are_exact_to_the_nanosecond(moment, ns, digits):
    expected = (moment - datetime(1970, 1, 1)) // (datetime(1970, 1, 2) - datetime(1970, 1, 1)) * 0
    delta = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    expected = (delta.days * 86_400 + delta.seconds) * 10**9 + delta.microseconds * 1000
    fraction = f"{moment.microsecond:06d}{ns:03d}"[:digits]
    expected += int(fraction.ljust(9, "0")) - moment.microsecond * 1000
    assert iso(f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction}Z") == expected


def test_an_iso_time_may_have_an_offset_and_no_fraction():
    assert iso("2026-01-01T02:00:00+02:00") == iso("2026-01-01 00:00:00Z")


@pytest.mark.parametrize(
    "text",
    [
        "2026-13-01T00:00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01",
        "1999-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z",
        "2026-01-01T00:00:00.1234567890Z",
        "٢٠٢٦-01-01T00:00:00Z",
        "2026-01-01T24:00:01Z",
        "2026-01-01T00:00:00+99:00",
    ],
)
def test_bad_iso_times_are_refused(text):
    with pytest.raises(InvalidValueError, match="bad_time"):
        iso(text)


@given(st.integers(EARLIEST_NS, LATEST_NS - 1))
def test_the_same_instant_in_every_unit(ns):
    assert parse_time(raw(str(ns)), "ns") == ns
    assert parse_time(raw(f'"{ns // 10**9}.{ns % 10**9:09d}"'), "s") == ns
    assert parse_time(raw(str(ns // 10**6)), "ms") == ns // 10**6 * 10**6
    assert parse_time(raw(str(ns // 10**3)), "us") == ns // 10**3 * 10**3


@pytest.mark.parametrize(
    ("text", "unit"), [("0", "ms"), ("1700000000000", "ns"), ("1700000000000000000", "ms"), ("-1", "s")]
)
def test_a_time_in_the_wrong_unit_is_refused(text, unit):
    with pytest.raises(InvalidValueError, match="bad_time"):
        parse_time(raw(text), unit)


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("7", 7),
        ('"7"', 7),
        ('"007"', "007"),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), str(2**63)),
        ('"12257565262583683815"', "12257565262583683815"),
        ('"a9188a0a-82bc-50de"', "a9188a0a-82bc-50de"),
    ],
)
def test_canonical_integer_ids_become_integers(text, ref):
    """All other ids stay text."""
    assert parse_trade_id(raw(text)) == ref


@pytest.mark.parametrize("text", ["null", "true", "1.5", "1e3", '""', '"a b"', '"é"', f'"{"x" * 65}"', "[]", "-1"])
def test_bad_ids_are_refused(text):
    with pytest.raises(InvalidValueError, match="bad_trade_id"):
        parse_trade_id(raw(text))


@given(st.one_of(st.text(), st.binary()))
def test_a_sample_is_one_short_printable_line(frame):
    sample = make_sample(frame)
    assert len(sample) <= SAMPLE_CHARS
    assert sample.isprintable()
    assert "\n" not in sample


@pytest.mark.parametrize(
    "text",
    [
        '{"token":"hunter2hunter2","p":1}',
        "wss://user:hunter2@venue.example/x",
        "Authorization: Bearer hunter2",
        '{"api_key": "hunter2"}',
        "x?listenKey=hunter2&y=1",
        '{"passphrase":"hun\\"ter2"}',
        "-----BEGIN PRIVATE KEY-----\nhunter2",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.hunter2",
    ],
)
def test_secrets_do_not_reach_a_sample(text):
    assert "ter2" not in make_sample(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    ("symbol", "pair"),
    [
        ("BTC-USD", ("BTC", "USD")),
        ("BTC/USDT:USDT", ("BTC", "USDT")),
        ("BTCUSDT", ("BTC", "USDT")),
        ("ETHBTC", ("ETH", "BTC")),
        ("BTCUSD_PERP", ("BTC", "USD")),
        ("BTC-USDT-SWAP", ("BTC", "USDT")),
        ("BTC-USD-220527", ("BTC", "USD")),
        ("SKL/XYZ", ("SKL", "XYZ")),
        ("BTCFDUSD", ("BTC", "FDUSD")),
        ("WHATEVER", ("WHATEVER", UNKNOWN_QUOTE)),
        ("USD", ("USD", UNKNOWN_QUOTE)),
    ],
)
def test_the_quote_currency_comes_from_the_symbol(symbol, pair):
    assert base_and_quote(symbol) == pair
