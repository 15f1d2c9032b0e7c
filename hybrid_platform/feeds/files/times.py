"""How a file writes time, and its way to nanoseconds since the Unix epoch, UTC.

Each notation turns one cell (the definition) and a whole Arrow column (the fast path, None where
anything is odd) into integers. Outside 2000 … 2100 nothing is a market time: that catches
milliseconds read as nanoseconds, and the like.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.decimals import MONEY
from hybrid_platform.domain.ticks import Int64s
from hybrid_platform.feeds.files.arrow import integers, low_words
from hybrid_platform.feeds.files.cells import PADDING, RowError, number, units

EARLIEST_NS = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * NS_PER_S
LATEST_NS = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * NS_PER_S
_DIGITS = {"s": 9, "ms": 6, "us": 3, "ns": 0}
_ISO = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2})(?::(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?"
    r"(?:Z|([+-])(\d{2})(?::?(\d{2}))?)?)?",
    re.ASCII,
)


class Notation(Protocol):
    """One way of writing time."""

    arrow_type: Any
    """What a CSV column is parsed into for the fast path."""

    def of_cell(self, cell: object) -> int:
        """Return nanoseconds; raise RowError(``bad_time`` or ``time_out_of_range``)."""

    def of_column(self, column: Any) -> Int64s | None:
        """Return nanoseconds, or None where any cell is odd or out of range."""


def _checked(ts_ns: int) -> int:
    if not EARLIEST_NS <= ts_ns < LATEST_NS:
        raise RowError("time_out_of_range")
    return ts_ns


def _all_checked(ts_ns: Int64s) -> Int64s | None:
    return ts_ns if len(ts_ns) and int(ts_ns.min()) >= EARLIEST_NS and int(ts_ns.max()) < LATEST_NS else None


class Epoch:
    """A number of seconds, milliseconds, microseconds or nanoseconds since 1970, fractions allowed."""

    def __init__(self, unit: str) -> None:
        self._digits = _DIGITS[unit]
        self.arrow_type = pa.decimal128(38, self._digits)

    def of_cell(self, cell: object) -> int:
        """Return nanoseconds."""
        return self.of_number(number(cell, "bad_time"))

    def of_number(self, value: Decimal) -> int:
        """Return nanoseconds."""
        if not EARLIEST_NS <= value.scaleb(self._digits, MONEY) < LATEST_NS:
            raise RowError("time_out_of_range")
        return units(value, self._digits, "time")

    def of_column(self, column: Any) -> Int64s | None:
        """Return nanoseconds, or None."""
        ts_ns = low_words(column, self._digits)
        return None if ts_ns is None else _all_checked(ts_ns)


class MillisOrMicros:
    """Milliseconds or microseconds since 1970, row by row by magnitude: Binance's spot dumps changed in 2025."""

    arrow_type = pa.decimal128(38, 0)
    _FROM = 10**14
    """As microseconds 1973, as milliseconds 5138: no market time is near it."""

    def of_cell(self, cell: object) -> int:
        """Return nanoseconds."""
        value = number(cell, "bad_time")
        return Epoch("us" if value >= self._FROM else "ms").of_number(value)

    def of_column(self, column: Any) -> Int64s | None:
        """Return nanoseconds, or None."""
        value = low_words(column, 0)
        if value is None or (value >= LATEST_NS // 1_000).any():
            return None
        return _all_checked(value * np.where(value >= self._FROM, 1_000, 1_000_000))


class Iso:
    """ISO 8601, with an offset or ``Z``, or without either: then UTC. Up to nine decimals."""

    arrow_type = pa.string()

    def of_cell(self, cell: object) -> int:
        """Return nanoseconds."""
        found = _ISO.fullmatch(cell.strip(PADDING)) if isinstance(cell, str) else None
        if not found:
            raise RowError("bad_time")
        day, hour, minute, second, fraction, sign, ahead_h, ahead_m = found.groups()
        try:
            clock = time(int(hour or 0), int(minute or 0), int(second or 0))
            ahead = timedelta(hours=int(ahead_h or 0), minutes=int(ahead_m or 0)) * (-1 if sign == "-" else 1)
            seconds = int(datetime.combine(date.fromisoformat(day), clock, timezone(ahead)).timestamp())
        except (ValueError, OverflowError):
            raise RowError("bad_time") from None
        return _checked(seconds * NS_PER_S + int((fraction or "").ljust(9, "0")))

    def of_column(self, column: Any) -> Int64s | None:
        """Return nanoseconds, or None."""
        if not len(column) or column.null_count:
            return None
        for arrow_type in (pa.timestamp("ns", "UTC"), pa.timestamp("ns")):
            try:
                return _all_checked(integers(column.cast(arrow_type).cast(pa.int64())))
            except pa.ArrowException:
                continue
        return None


class SinceMidnight:
    """Milliseconds (fractions allowed) since midnight of one day in one time zone, on its wall clocks."""

    arrow_type = pa.decimal128(38, 6)
    _DAY_NS = 86_400 * NS_PER_S
    _SLOT_NS = 900 * NS_PER_S
    """Zones change their offset on quarters of an hour."""

    def __init__(self, day: date, zone: str) -> None:
        midnight = datetime.combine(day, time())
        place = ZoneInfo(zone)
        epoch_ns = int(midnight.replace(tzinfo=UTC).timestamp()) * NS_PER_S
        slots = ((midnight + timedelta(minutes=15 * slot)).replace(tzinfo=place) for slot in range(96))
        offsets = [(slot.utcoffset() or timedelta()) // timedelta(seconds=1) * NS_PER_S for slot in slots]
        self._midnight = epoch_ns - np.array(offsets, np.int64)
        """For each quarter of an hour: midnight as its offset sees it, in nanoseconds UTC."""

    def of_cell(self, cell: object) -> int:
        """Return nanoseconds."""
        value = number(cell, "bad_time")
        if not 0 <= value < 86_400_000:
            raise RowError("time_out_of_range")
        since = units(value, 6, "time")
        return _checked(int(self._midnight[since // self._SLOT_NS]) + since)

    def of_column(self, column: Any) -> Int64s | None:
        """Return nanoseconds, or None."""
        since = low_words(column, 6)
        if since is None or (since >= self._DAY_NS).any():
            return None
        return _all_checked(self._midnight[since // self._SLOT_NS] + since)


def notation_of(unit: str) -> Notation:
    """Return the notation that a unit names: s, ms, us, ns, iso or ms_or_us."""
    return Iso() if unit == "iso" else MillisOrMicros() if unit == "ms_or_us" else Epoch(unit)
