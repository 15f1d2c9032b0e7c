"""Time formats of files, converted to nanoseconds since the Unix epoch, UTC.

Each format converts one cell (the definition) and a whole Arrow column (the fast path, which returns None if any cell
is unusual). Times outside `EARLIEST_NS` … `LATEST_NS` are rejected.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.decimals import MONEY
from hybrid_platform.domain.ticks import Int64s
from hybrid_platform.domain.times import EARLIEST_NS, LATEST_NS, UNIT_DIGITS, is_market_time, parse_iso
from hybrid_platform.feeds.files.arrow import to_int64, to_units64
from hybrid_platform.feeds.files.cells import PADDING, RowError, convert_to_units, parse_number


class TimeFormat(Protocol):
    """One way of writing time."""

    arrow_type: Any
    """Type that a CSV column is parsed into for the fast path."""

    def parse_cell(self, cell: object) -> int:
        """Return nanoseconds; raise RowError(``bad_time`` or ``time_out_of_range``)."""

    def parse_column(self, column: Any) -> Int64s | None:
        """Return nanoseconds, or None if any cell is unusual or out of range."""


def _check_range(ts_ns: int) -> int:
    if not is_market_time(ts_ns):
        raise RowError("time_out_of_range")
    return ts_ns


def _check_column_range(ts_ns: Int64s) -> Int64s | None:
    return ts_ns if len(ts_ns) and int(ts_ns.min()) >= EARLIEST_NS and int(ts_ns.max()) < LATEST_NS else None


class EpochTime:
    """A number of seconds, milliseconds, microseconds or nanoseconds since 1970, fractions allowed."""

    def __init__(self, unit: str) -> None:
        self._digits = UNIT_DIGITS[unit]
        self.arrow_type = pa.decimal128(38, self._digits)

    def parse_cell(self, cell: object) -> int:
        """Return nanoseconds."""
        return self.parse_decimal(parse_number(cell, "bad_time"))

    def parse_decimal(self, value: Decimal) -> int:
        """Return nanoseconds."""
        if not EARLIEST_NS <= value.scaleb(self._digits, MONEY) < LATEST_NS:
            raise RowError("time_out_of_range")
        return convert_to_units(value, self._digits, "time")

    def parse_column(self, column: Any) -> Int64s | None:
        """Return nanoseconds, or None."""
        ts_ns = to_units64(column, self._digits)
        return None if ts_ns is None else _check_column_range(ts_ns)


class MillisOrMicros:
    """Milliseconds or microseconds since 1970, decided per row by magnitude: Binance's spot dumps changed in 2025."""

    arrow_type = pa.decimal128(38, 0)
    _FROM = 10**14
    """1973 in microseconds, 5138 in milliseconds: market times are far from both."""

    def parse_cell(self, cell: object) -> int:
        """Return nanoseconds."""
        value = parse_number(cell, "bad_time")
        return EpochTime("us" if value >= self._FROM else "ms").parse_decimal(value)

    def parse_column(self, column: Any) -> Int64s | None:
        """Return nanoseconds, or None."""
        value = to_units64(column, 0)
        if value is None or (value >= LATEST_NS // 1_000).any():
            return None
        return _check_column_range(value * np.where(value >= self._FROM, 1_000, 1_000_000))


class IsoTime:
    """ISO 8601 with up to nine decimals; without an offset or ``Z``, UTC."""

    arrow_type = pa.string()

    def parse_cell(self, cell: object) -> int:
        """Return nanoseconds."""
        if not isinstance(cell, str):
            raise RowError("bad_time")
        try:
            ts_ns = parse_iso(cell.strip(PADDING))
        except ValueError:
            raise RowError("bad_time") from None
        return _check_range(ts_ns)

    def parse_column(self, column: Any) -> Int64s | None:
        """Return nanoseconds, or None."""
        if not len(column) or column.null_count:
            return None
        for arrow_type in (pa.timestamp("ns", "UTC"), pa.timestamp("ns")):
            try:
                return _check_column_range(to_int64(column.cast(arrow_type).cast(pa.int64())))
            except pa.ArrowException:
                continue
        return None


class SinceMidnight:
    """Milliseconds (fractions allowed) since midnight of one day, on the wall clocks of one time zone."""

    arrow_type = pa.decimal128(38, 6)
    _DAY_NS = 86_400 * NS_PER_S
    _SLOT_NS = 900 * NS_PER_S
    """Time zones change their offset at quarters of an hour."""

    def __init__(self, day: date, zone: str) -> None:
        midnight = datetime.combine(day, time())
        place = ZoneInfo(zone)
        epoch_ns = int(midnight.replace(tzinfo=UTC).timestamp()) * NS_PER_S
        slots = ((midnight + timedelta(minutes=15 * slot)).replace(tzinfo=place) for slot in range(96))
        offsets = [(slot.utcoffset() or timedelta()) // timedelta(seconds=1) * NS_PER_S for slot in slots]
        self._midnight = epoch_ns - np.array(offsets, np.int64)
        """For each quarter of an hour: midnight at that quarter's offset, in nanoseconds UTC."""

    def parse_cell(self, cell: object) -> int:
        """Return nanoseconds."""
        value = parse_number(cell, "bad_time")
        if not 0 <= value < 86_400_000:
            raise RowError("time_out_of_range")
        since = convert_to_units(value, 6, "time")
        return _check_range(int(self._midnight[since // self._SLOT_NS]) + since)

    def parse_column(self, column: Any) -> Int64s | None:
        """Return nanoseconds, or None."""
        since = to_units64(column, 6)
        if since is None or (since >= self._DAY_NS).any():
            return None
        return _check_column_range(self._midnight[since // self._SLOT_NS] + since)


def select_time_format(unit: str) -> TimeFormat:
    """Return the format of a unit: s, ms, us, ns, iso or ms_or_us."""
    return IsoTime() if unit == "iso" else MillisOrMicros() if unit == "ms_or_us" else EpochTime(unit)
