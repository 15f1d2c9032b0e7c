"""Records and ticks as the values of their tables' rows, flat, in the order of the columns.

in: `Record`s and `TickBatch`es · out: lists for `BulkInsert`. Per row there is nothing but C:
columns are taken apart, converted and laid together again as wholes.
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
"""SQLITE_MAX_VARIABLE_NUMBER as SQLite ships; builds that allow more gain nothing from it when alone."""
TICK_COLUMNS = ("seq", "instrument_no", "price", "size", "side", "ts_event", "ts_recv", "trade_ref")
"""The last one is left out where a source has no ids."""


class RecordLayout(NamedTuple):
    """How records of one type become rows of one table."""

    name: str
    """The table's name in SPEC 10."""
    key: str
    """What, with the session, forbids a row twice (I3)."""
    columns: tuple[str, ...]
    """``n`` first; the other fields of the record in their order."""
    is_numbered: bool
    """The record has no ``n`` of its own: the writer numbers the rows as they come."""
    getters: tuple[Callable[[Any], Any], ...]
    """Of each column but a number that the writer gives."""
    codecs: tuple[Callable[[Any], Any] | None, ...]
    """One for each getter; None where the driver takes the field as it is."""


def _layout(name: str, record: type[Record], key: str) -> RecordLayout:
    kinds = {field.name: field.type for field in msgspec.structs.fields(record)}
    return RecordLayout(
        name,
        key,
        columns=("n", *(field for field in kinds if field != "n")),
        is_numbered="n" not in kinds,
        getters=tuple(map(attrgetter, kinds)),
        codecs=tuple(map(_codec, kinds.values())),
    )


def _codec(kind: Any) -> Callable[[Any], Any] | None:
    """Return how a field is stored: sqlite3 is slow with anything but exact int, float, str and None."""
    if Decimal in (kind, *get_args(kind)):
        return exact_text
    if kind is bool:
        return int
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return str.__str__
    return None


LAYOUTS: dict[type[Record], RecordLayout] = {
    SignalRecord: _layout("signals", SignalRecord, "signal_id"),
    VetoRecord: _layout("vetoes", VetoRecord, "signal_id"),
    OrderRecord: _layout("orders", OrderRecord, "order_id"),
    OrderEventRecord: _layout("order_events", OrderEventRecord, "n"),
    TradeRecord: _layout("trades", TradeRecord, "n"),
    InputRecord: _layout("inputs", InputRecord, "n"),
    HeartbeatRecord: _layout("heartbeats", HeartbeatRecord, "n"),
    GapRecord: _layout("gaps", GapRecord, "n"),
}


def group_by_type(records: Iterable[Record]) -> dict[type[Record], list[Any]]:
    """Return the records of each type, in order."""
    groups: dict[type[Record], list[Any]] = defaultdict(list)
    for record in records:
        groups[type(record)].append(record)
    return groups


def record_values(layout: RecordLayout, records: Sequence[Any], last_n: int) -> list[Any]:
    """Return the values of the records' rows; rows without a number of their own follow ``last_n``.

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
    """Return the same row by row."""
    values, width = record_values(layout, records, last_n), len(layout.columns)
    return [tuple(values[at : at + width]) for at in range(0, len(values), width)]


def merge_order_updates(records: Sequence[OrderRecord]) -> list[OrderRecord]:
    """Return each order once: as it was recorded first, with its last status."""
    latest: dict[str, OrderRecord] = {}
    for record in records:
        first = latest.setdefault(record.order_id, record)
        if first.status is not record.status:
            latest[record.order_id] = msgspec.structs.replace(first, status=record.status)
    return list(latest.values())


def tick_values(ticks: TickBatch, numbers: npt.NDArray[np.int64], most: int) -> Iterator[tuple[int, list[Any]]]:
    """Yield ``(columns, values)`` of the ticks' rows, ``most`` values at most at a time.

    ``numbers`` are the instruments' numbers in the database by their index in the session's table.
    """
    width = len(TICK_COLUMNS) - (ticks.trade_ref is None)
    rows = most // width
    for start in range(0, len(ticks), rows):
        part = ticks[start : start + rows]
        # Column by column: numpy's lists of one column are short enough to stay in the processor's cache.
        values: list[Any] = [None] * (width * len(part))
        values[0::width] = part.seq.tolist()
        values[1::width] = numbers[part.instrument].tolist()
        values[2::width] = part.price.tolist()
        values[3::width] = part.size.tolist()
        values[4::width] = part.side.tolist()
        values[5::width] = events = part.ts_event.tolist()
        # Most recordings know one time only: its numbers are made once.
        values[6::width] = events if np.array_equal(part.ts_event, part.ts_recv) else part.ts_recv.tolist()
        if part.trade_ref is not None:
            values[7::width] = part.trade_ref.tolist()
        yield width, values


class BulkInsert:
    """Inserts rows of one table for one session; a row whose key is there already is left as it is."""

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
        """``key`` and the session make a row unique; ``on_conflict`` is what follows ``DO``."""
        self.table = table
        self._columns = columns
        self._key = columns.index(key)
        self._session_no = session_no
        self._into = f"INSERT INTO {table} (session_no, {', '.join(columns)}) VALUES "  # noqa: S608
        self._row = f"({session_no}{', ?' * len(columns)})"
        self._tail = f" ON CONFLICT (session_no, {key}) DO {on_conflict}"
        self._sizes = _sizes(max_parameters // len(columns))
        self._statements: dict[int, str] = {}

    def insert(self, cursor: sqlite3.Cursor, values: list[Any]) -> int:
        """Insert the rows whose values are given one after the other; return how many changed the table."""
        changed = start = 0
        width = len(self._columns)
        for size in self._sizes:
            step = size * width
            if step == len(values):  # as it mostly is for ticks: nothing is copied
                return cursor.execute(self._statement(size), values).rowcount
            end = start + (len(values) - start) // step * step
            if end > start:
                cursor.executemany(self._statement(size), [values[at : at + step] for at in range(start, end, step)])
                changed += cursor.rowcount
                start = end
        return changed

    def first_different(self, cursor: sqlite3.Cursor, values: list[Any], ignore: str = "") -> Any:
        """Return the key of the first row that stands in the table with other values, or None.

        Slow; only asked when rows were there already.
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


def _sizes(largest: int) -> list[int]:
    """Return rows a statement, descending to 1: at most three steps of each size but the first."""
    sizes = [4**power for power in range(12) if 4**power < largest]
    return [largest, *reversed(sizes)]
