"""Parquet format of archived ticks: one file per session, instrument, day and range of ``seq``.

in: `TickRows` and their instrument · out: the file's bytes, and the same rows decoded from them. Prices and sizes
are stored as integers together with their scale, which is exact and has one type for all instruments. Separate from
`archive` because it loads pyarrow.
"""

from __future__ import annotations

import io
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from hybrid_platform.domain.clocks import NS_PER_S, iso_utc
from hybrid_platform.domain.ticks import Int64s
from hybrid_platform.storage.tick_rows import TickRows

DAY_NS = 86_400 * NS_PER_S
_SCHEMA = pa.schema(
    [
        ("session_id", pa.dictionary(pa.int32(), pa.string())),
        ("seq", pa.int64()),
        ("instrument_no", pa.int32()),
        ("price_units", pa.int64()),
        ("price_scale", pa.int8()),
        ("size_units", pa.int64()),
        ("size_scale", pa.int8()),
        ("side", pa.int8()),
        ("trade_id", pa.int64()),
        ("trade_id_text", pa.string()),
        ("ts_event", pa.int64()),
        ("ts_recv", pa.int64()),
    ]
)


class ArchivedInstrument(NamedTuple):
    """Identity and scales of an instrument in the database."""

    number: int
    venue: str
    symbol: str
    price_scale: int
    size_scale: int


def format_day(ts_event: int) -> str:
    """Return the UTC day of an event time in nanoseconds, such as ``2026-01-31``."""
    return iso_utc(ts_event)[:10]


def build_file_name(session_id: str, instrument: ArchivedInstrument, day: str, part: int) -> str:
    """Return a file's path below the archive: hive partitions, with venue and symbol quoted.

    The path depends on the ticks alone, so that a repetition after a crash replaces a file instead of adding one.
    """
    venue, symbol = (quote(text, safe="").replace(".", "%2E") for text in (instrument.venue, instrument.symbol))
    name = f"{quote(session_id, safe='')}-{instrument.number}-{part:06d}.parquet"
    return f"day={day}/venue={venue}/symbol={symbol}/{name}"


def encode(rows: TickRows, session_id: str, instrument: ArchivedInstrument) -> bytes:
    """Return rows of one instrument as a Parquet file."""
    count = len(rows.seq)
    columns: list[Any] = [
        pa.DictionaryArray.from_arrays(np.zeros(count, dtype=np.int32), [session_id]),
        rows.seq,
        rows.instrument_no.astype(np.int32),
        rows.price,
        np.full(count, instrument.price_scale, dtype=np.int8),
        rows.size,
        np.full(count, instrument.size_scale, dtype=np.int8),
        rows.side.astype(np.int8),
        pa.array([ref if isinstance(ref, int) else None for ref in rows.refs], pa.int64()),
        pa.array([ref if isinstance(ref, str) else None for ref in rows.refs], pa.string()),
        rows.ts_event,
        rows.ts_recv,
    ]
    table = pa.Table.from_arrays([pa.array(column) for column in columns], schema=_SCHEMA)
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out, compression="zstd")
    return out.getvalue()


def decode(content: bytes) -> TickRows:
    """Return the rows of a file; raise ValueError for a file of another format."""
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"expected a Parquet file: {str(error)[:200]}") from None
    if not set(_SCHEMA.names) <= set(table.column_names):
        raise ValueError(f"expected columns {', '.join(_SCHEMA.names)}, got {', '.join(table.column_names)[:200]}")

    def integers(name: str) -> Int64s:
        return np.asarray(table[name].to_numpy(), dtype=np.int64)

    numbers, texts = table["trade_id"].to_pylist(), table["trade_id_text"].to_pylist()
    return TickRows(
        integers("seq"),
        integers("instrument_no"),
        integers("price_units"),
        integers("size_units"),
        integers("side"),
        integers("ts_event"),
        integers("ts_recv"),
        [text if number is None else number for number, text in zip(numbers, texts, strict=True)],
    )
