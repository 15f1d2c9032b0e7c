"""ISO 8601 times as exact nanoseconds, and the range of market times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.times import EARLIEST_NS, LATEST_NS, is_market_time, parse_iso

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)),
    st.integers(0, 999),
    st.integers(-1439, 1439),
    st.booleans(),
)
def test_every_offset_and_nanosecond_is_exact(moment, ns, offset_minutes, colon):
    """The local time minus its offset, in integers."""
    sign, (hours, minutes) = "-" if offset_minutes < 0 else "+", divmod(abs(offset_minutes), 60)
    zone = f"{sign}{hours:02d}{':' if colon else ''}{minutes:02d}"
    micros = (moment.replace(tzinfo=UTC) - EPOCH - timedelta(minutes=offset_minutes)) // timedelta(microseconds=1)
    assert parse_iso(f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond:06d}{ns:03d}{zone}") == micros * 1_000 + ns


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-01-02", "2026-01-02T00:00:00Z"),
        ("2026-01-02T03", "2026-01-02T03:00:00Z"),
        ("2026-01-02 03:04", "2026-01-02T03:04:00Z"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.5", "2026-01-02T03:04:05.500000000Z"),
        ("2026-01-02T03+03", "2026-01-02T00:00:00Z"),
    ],
)
def test_parts_may_be_missing_unless_a_complete_time_is_required(text, same):
    assert parse_iso(text) == parse_iso(same, complete=True)
    with pytest.raises(ValueError, match="ISO 8601"):
        parse_iso(text, complete=True)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "2026",
            "20260102",
            "2026-1-2",
            "2026-13-01",
            "2026-02-29",
            "2026-01-02t03:04:05Z",
            "2026-01-02T24:00:00Z",
        ),
        "2026-01-02T24:00:00Z",
        *("2026-01-02T03:04:60Z", "2026-01-02T03:04:05,5Z", "2026-01-02T03:04:05.1234567890Z", "2026-W01-1"),
        *("2026-01-02T03:04:05+24:00", "2026-01-02T03:04:05+01:00:00", "٢٠٢٦-01-01T00:00:00Z", " 2026-01-02"),
    ],
)
def test_malformed_times_are_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_iso(text)


def test_market_times_lie_between_2000_and_2100():
    assert parse_iso("2000-01-01") == EARLIEST_NS
    assert parse_iso("2100-01-01") == LATEST_NS
    assert [is_market_time(ns) for ns in (EARLIEST_NS - 1, EARLIEST_NS, LATEST_NS - 1, LATEST_NS)] == [
        False,
        True,
        True,
        False,
    ]
