"""Conversion of Arrow columns to numpy integers through their buffers: exact, without Python objects or floats.

Arrow's own ``to_numpy`` is not used because it imports pandas, which costs a quarter of a second and 40 MB.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_platform.domain.ticks import Int64s


def to_int64(column: Any) -> Int64s:
    """Return a column of int32 or int64, without nulls, as int64."""
    width = column.type.bit_width // 8
    if not len(column):
        return np.zeros(0, np.int64)
    values = np.frombuffer(column.buffers()[1], f"<i{width}")[column.offset : column.offset + len(column)]
    return values.astype(np.int64)


def to_units64(column: Any, digits: int) -> Int64s | None:
    """Return a column of numbers as int64 units of 10^-digits; None if any number is negative or does not fit.

    A decimal128 consists of two 64-bit words; if the high one is 0, the low one is the exact value.
    """
    if column.null_count or not len(column):
        return None
    if pa.types.is_string(column.type) and any(pc.any(pc.match_substring(column, e)).as_py() for e in ("e-", "E-")):
        return None  # pyarrow 26 crashes the process on 1e-2000000000
    try:
        column = column.cast(pa.decimal128(38, digits))
    except pa.ArrowException:
        return None
    words = np.frombuffer(column.buffers()[1], "<i8")[2 * column.offset : 2 * (column.offset + len(column))]
    low = np.ascontiguousarray(words[::2])
    return None if words[1::2].any() or (low < 0).any() else low
