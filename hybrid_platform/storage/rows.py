"""Conversion of records and ticks to rows, and their bulk insertion: the only storage code shaped by speed.

in: `Record`s and `TickBatch`es · out: flat lists of values in column order, and INSERT statements of many rows.
No Python code runs per row: columns are extracted, converted and interleaved as wholes.

sqlite3 releases the GIL at each step and, if another thread computes, waits one switch interval to get it back.
Measured with the bare driver on two otherwise idle cores: with 32 rows per statement, throughput falls from 900,000
rows per second to 20,000 while another Python thread is busy; with as many rows as SQLite allows parameters for
(4,095 ticks) it keeps 280,000, and is as fast alone. Other load on the machine hides this. See
benchmarks/bench_writer.py.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
from typing import Any, NamedTuple, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from hybrid_platform.domain.orders import (
    GapRecord,
    HeartbeatRecord,
    InputRecord,
    OrderEventRecord,
    OrderRecord,
    Record,
    SignalRecord,
    TradeRecord,
    VetoRecord,
)
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.storage.types import exact_text

MAX_PARAMETERS = 32_766
"""SQLite's default SQLITE_MAX_VARIABLE_NUMBER; builds that allow more gain nothing without a busy second thread."""
TICK_COLUMNS = ("seq", "instrument_no", "price", "size", "side", "ts_event", "ts_recv", "trade_ref")
"""The last column is left out for a source without trade ids."""


class RecordLayout(NamedTuple):
    """Mapping from records of one type to rows of one table."""

    name: str
    """The table's public name."""
    key: str
    """Column that, with the session, makes a row unique (I3)."""
    columns: tuple[str, ...]
    """``n``, then the other fields of the record in their order."""
    is_numbered: bool
    """Whether the writer numbers the rows, because the record has no field ``n``."""
    getters: tuple[Callable[[Any], Any], ...]
    """One for each column that the record provides."""
    codecs: tuple[Callable[[Any], Any] | None, ...]
    """One for each getter; None if the driver takes the field unchanged."""


def _build_layout(name: str, record: type[Record], key: str) -> RecordLayout:
    kinds = {field.name: field.type for field in msgspec.structs.fields(record)}
    return RecordLayout(
        name,
        key,
        columns=("n", *(field for field in kinds if field != "n")),
        is_numbered="n" not in kinds,
        getters=tuple(map(attrgetter, kinds)),
        codecs=tuple(map(_choose_codec, kinds.values())),
    )


def _choose_codec(kind: Any) -> Callable[[Any], Any] | None:
    """Return the conversion of a field: sqlite3 is slow with types other than exact int, float, str and None."""
    if Decimal in (kind, *get_args(kind)):
        return exact_text
    if kind is bool:
        return int
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return str.__str__
    return None


RECORD_LAYOUTS: dict[type[Record], RecordLayout] = {
    SignalRecord: _build_layout("signals", SignalRecord, "signal_id"),
    VetoRecord: _build_layout("vetoes", VetoRecord, "signal_id"),
    OrderRecord: _build_layout("orders", OrderRecord, "order_id"),
    OrderEventRecord: _build_layout("order_events", OrderEventRecord, "n"),
    TradeRecord: _build_layout("trades", TradeRecord, "n"),
    InputRecord: _build_layout("inputs", InputRecord, "n"),
    HeartbeatRecord: _build_layout("heartbeats", HeartbeatRecord, "n"),
    GapRecord: _build_layout("gaps", GapRecord, "n"),
}


def group_by_type(records: Iterable[Record]) -> dict[type[Record], list[Any]]:
    """Return the records grouped by type, each group in order."""
    groups: dict[type[Record], list[Any]] = defaultdict(list)
    for record in records:
        groups[type(record)].append(record)
    return groups


def record_values(layout: RecordLayout, records: Sequence[Any], last_n: int) -> list[Any]:
    """Return the flat values of the records' rows; rows numbered by the writer follow ``last_n``.

    Raises ValueError for a number that is not finite.
    """
    width = len(layout.columns)
    values: list[Any] = [None] * (width * len(records))
    if layout.is_numbered:
        values[::width] = range(last_n + 1, last_n + 1 + len(records))
    for place, (getter, codec) in enumerate(zip(layout.getters, layout.codecs, strict=True), int(layout.is_numbered)):
        column = map(getter, records)
        values[place::width] = column if codec is None else map(codec, column)
    return values


def record_rows(layout: RecordLayout, records: Sequence[Any], last_n: int) -> list[tuple[Any, ...]]:
    """Return the values of the records' rows, one tuple per row."""
    values, width = record_values(layout, records, last_n), len(layout.columns)
    return [tuple(values[at : at + width]) for at in range(0, len(values), width)]


def merge_order_updates(records: Sequence[OrderRecord]) -> list[OrderRecord]:
    """Return each order once: its first record with its last status."""
    latest: dict[str, OrderRecord] = {}
    for record in records:
        first = latest.setdefault(record.order_id, record)
        if first.status is not record.status:
            latest[record.order_id] = msgspec.structs.replace(first, status=record.status)
    return list(latest.values())


def tick_values(ticks: TickBatch, numbers: npt.NDArray[np.int64], max_values: int) -> Iterator[tuple[int, list[Any]]]:
    """Yield ``(columns, values)`` of the ticks' rows, at most ``max_values`` values at a time.

    ``numbers`` maps an instrument's index in the session's table to its number in the database.
    """
    width = len(TICK_COLUMNS) - (ticks.trade_ref is None)
    rows = max_values // width
    for start in range(0, len(ticks), rows):
        part = ticks[start : start + rows]
        # Column by column: the list of one column is short enough to stay in the processor's cache.
        values: list[Any] = [None] * (width * len(part))
        values[0::width] = part.seq.tolist()
        values[1::width] = numbers[part.instrument].tolist()
        values[2::width] = part.price.tolist()
        values[3::width] = part.size.tolist()
        values[4::width] = part.side.tolist()
        values[5::width] = events = part.ts_event.tolist()
        # Most recordings have one time only: convert it once.
        values[6::width] = events if np.array_equal(part.ts_event, part.ts_recv) else part.ts_recv.tolist()
        if part.trade_ref is not None:
            values[7::width] = part.trade_ref.tolist()
        yield width, values


class BulkInsert:
    """Inserts many rows of one table for one session; an existing row with the same key is left unchanged."""

    def __init__(
        self,
        table: str,
        columns: Sequence[str],
        session_no: int,
        *,
        key: str,
        on_conflict: str = "NOTHING",
        max_parameters: int = MAX_PARAMETERS,
    ) -> None:
        """Prepare statements; ``key`` and the session make a row unique, ``on_conflict`` is the SQL after ``DO``."""
        self.table = table
        self._columns = columns
        self._key = columns.index(key)
        self._session_no = session_no
        self._into = f"INSERT INTO {table} (session_no, {', '.join(columns)}) VALUES "  # noqa: S608
        self._row = f"({session_no}{', ?' * len(columns)})"
        self._tail = f" ON CONFLICT (session_no, {key}) DO {on_conflict}"
        self._sizes = _statement_sizes(max_parameters // len(columns))
        self._statements: dict[int, str] = {}

    def insert(self, cursor: sqlite3.Cursor, values: list[Any]) -> int:
        """Insert the rows of a flat list of values; return how many rows changed the table."""
        changed = start = 0
        width = len(self._columns)
        for size in self._sizes:
            step = size * width
            if step == len(values):  # the usual case for ticks: no copy
                return cursor.execute(self._statement(size), values).rowcount
            end = start + (len(values) - start) // step * step
            if end > start:
                cursor.executemany(self._statement(size), [values[at : at + step] for at in range(start, end, step)])
                changed += cursor.rowcount
                start = end
        return changed

    def first_different(self, cursor: sqlite3.Cursor, values: list[Any], ignore: str = "") -> Any:
        """Return the key of the first row that exists in the table with other values, or None.

        Slow; called only after some rows already existed.
        """
        same = [f"{name} IS ?" for name in self._columns if name != ignore]
        query = f"SELECT 1 FROM {self.table} WHERE session_no = {self._session_no} AND {' AND '.join(same)}"  # noqa: S608
        width = len(self._columns)
        for at in range(0, len(values), width):
            row = values[at : at + width]
            wanted = [value for name, value in zip(self._columns, row, strict=True) if name != ignore]
            if cursor.execute(query, wanted).fetchone() is None:
                return row[self._key]
        return None

    def _statement(self, size: int) -> str:
        if size not in self._statements:
            self._statements[size] = self._into + ", ".join([self._row] * size) + self._tail
        return self._statements[size]


def _statement_sizes(largest: int) -> list[int]:
    """Return the rows per statement, descending to 1, so that each size but the first is used at most three times."""
    sizes = [4**power for power in range(12) if 4**power < largest]
    return [largest, *reversed(sizes)]
