"""The only writer of a running session's rows, used from one thread (I6).

in: tick batches and records · out: rows; each call is one transaction, and committed rows are counted. The writer
waits for a locked database (S12, L3) and raises every other failure with its cause (L4). The caller may write the same
rows again: existing rows are not duplicated (I3).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from hybrid_platform.domain.errors import StorageError
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.domain.orders import OrderRecord, Record
from hybrid_platform.domain.ticks import TickBatch, concat_batches
from hybrid_platform.storage import schema
from hybrid_platform.storage.connection import LOCK_WAIT_SECONDS, begin_immediate, read_pragmas
from hybrid_platform.storage.errors import Cause, DatabaseError, storage_errors, to_storage_error
from hybrid_platform.storage.location import FILE_SUFFIXES, read_file_ids
from hybrid_platform.storage.rows import (
    MAX_PARAMETERS,
    RECORD_LAYOUTS,
    TICK_COLUMNS,
    BulkInsert,
    group_by_type,
    merge_order_updates,
    record_values,
    tick_values,
)

TICKS_PER_BATCH_ROW = 4_096
"""A row of ``tick_batches`` grows to at least this many ticks before the next one begins."""


class _TickSpan(NamedTuple):
    """Row of ``tick_batches``, in the order of its columns."""

    first_seq: int
    last_seq: int
    count: int  # type: ignore[assignment]  # shadows tuple.count, which is not used
    min_ts_event: int
    max_ts_event: int
    min_ts_recv: int
    max_ts_recv: int

    @classmethod
    def from_ticks(cls, ticks: TickBatch) -> _TickSpan:
        """Return the span of a batch."""
        return cls(
            int(ticks.seq.min()), int(ticks.seq.max()), len(ticks),
            int(ticks.ts_event.min()), int(ticks.ts_event.max()), int(ticks.ts_recv.min()), int(ticks.ts_recv.max()),
        )  # fmt: skip

    def merge(self, later: _TickSpan) -> _TickSpan:
        """Return one span for this one and a later one."""
        return _TickSpan(
            self.first_seq, max(self.last_seq, later.last_seq), self.count + later.count,
            min(self.min_ts_event, later.min_ts_event), max(self.max_ts_event, later.max_ts_event),
            min(self.min_ts_recv, later.min_ts_recv), max(self.max_ts_recv, later.max_ts_recv),
        )  # fmt: skip


class SessionWriter:
    """Writer of one session's rows, with one connection. Owned by the persist stage, which closes it."""

    def __init__(
        self,
        engine: sa.Engine,
        session_id: str,
        *,
        lock_wait_seconds: float = LOCK_WAIT_SECONDS,
        on_wait: Callable[[float], None] = lambda waited: None,
    ) -> None:
        """Connect, and find the session's row.

        ``on_wait`` receives the seconds waited so far each time the busy timeout expires on a locked database.
        Raises StorageError for an unknown session or a database that cannot be opened.
        """
        self._lock_wait_seconds = lock_wait_seconds
        self._on_wait = on_wait
        self._pooled = engine.raw_connection()
        try:
            self._connection = cast(sqlite3.Connection, self._pooled.driver_connection)
            with storage_errors("opening the session's writer"):
                self._path = Path(self._connection.execute("PRAGMA database_list").fetchone()[2])
                self.pragmas: Mapping[str, str | int] = read_pragmas(self._connection, "write")
                """PRAGMA values read back from this connection (G3)."""
                session_no = self._find_session(session_id)
        except BaseException:
            self._pooled.close()
            raise
        self._files = read_file_ids(self._path)
        self._session_no = session_no
        self._max_parameters = max_parameters = min(
            MAX_PARAMETERS, self._connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        )
        """Largest number of values per statement; it also bounds the memory of a large write."""
        # A source without trade ids omits the column instead of writing NULL: an eighth fewer values.
        self._ticks = {
            width: BulkInsert(
                schema.TICKS.name, TICK_COLUMNS[:width], session_no, key="seq", max_parameters=max_parameters
            )
            for width in (len(TICK_COLUMNS) - 1, len(TICK_COLUMNS))
        }
        self._records = {
            kind: BulkInsert(
                schema.COUNTED_TABLES[layout.name].name,
                layout.columns,
                session_no,
                key=layout.key,
                on_conflict="UPDATE SET status = excluded.status" if kind is OrderRecord else "NOTHING",
                max_parameters=max_parameters,
            )
            for kind, layout in RECORD_LAYOUTS.items()
        }
        self._span_row = BulkInsert(
            schema.TICK_BATCHES.name,
            _TickSpan._fields,
            session_no,
            key="first_seq",
            on_conflict=f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _TickSpan._fields[1:])}",
        )
        self._written = dict.fromkeys(schema.COUNTED_TABLES, 0)
        self._last_n = dict.fromkeys(schema.COUNTED_TABLES, 0)
        self._numbers: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._span: _TickSpan | None = None
        self._errors = self._lock_timeouts = 0
        self._is_abandoned = False

    @property
    def written(self) -> dict[str, int]:
        """Rows committed so far, by table; a later state of an order does not count as a new row."""
        return dict(self._written)

    @property
    def errors(self) -> int:
        """Writes that failed so far."""
        return self._errors

    @property
    def lock_timeouts(self) -> int:
        """How often the busy timeout expired on a locked database; a lock that was released in time is not an error."""
        return self._lock_timeouts

    def write(self, ticks: Sequence[TickBatch], records: Sequence[Record]) -> int:
        """Write all ticks and records in one transaction; return the number of new rows.

        Existing rows with the same values stay unchanged. Raises DatabaseError with its cause after rolling
        everything back; the caller may then write the same rows again.
        """
        batches = [batch for batch in ticks if len(batch)]
        if not batches and not records:
            return 0
        try:
            return self._write(concat_batches(batches) if batches else None, records)
        except StorageError:
            self._errors += 1
            raise

    def abandon(self) -> None:
        """Leave the connection to a thread that is stuck in it: closing it would wait for the same disk."""
        self._is_abandoned = True

    def close(self) -> None:
        """Close the connection (idempotent). Closing the last connection checkpoints the WAL."""
        if self._is_abandoned:
            return
        with storage_errors(f"closing {self._path}"):
            self._pooled.close()

    def __enter__(self) -> SessionWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, ticks: TickBatch | None, records: Sequence[Record]) -> int:
        numbers, span, last_n = self._numbers, self._span, dict(self._last_n)
        new: dict[str, int] = {}
        begin_immediate(self._connection, self._lock_wait_seconds, str(self._path), self._count_lock_timeout)
        try:
            cursor = self._connection.cursor()
            if ticks is not None:
                numbers = self._intern(cursor, ticks.table)
                new["ticks"] = self._insert_ticks(cursor, ticks, numbers)
                span = self._index(cursor, _TickSpan.from_ticks(ticks))
            for kind, group in group_by_type(records).items():
                name = RECORD_LAYOUTS[kind].name
                new[name] = self._insert_records(cursor, kind, group, last_n)
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                with suppress(sqlite3.Error):  # the first error is the one to report
                    self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error | OverflowError | UnicodeError | ValueError | TypeError):
                raise to_storage_error(error, f"writing to {self._path}") from error
            raise
        self._require_same_files()
        self._numbers, self._span, self._last_n = numbers, span, last_n
        for name, count in new.items():
            self._written[name] += count
        return sum(new.values())

    def _insert_ticks(self, cursor: sqlite3.Cursor, ticks: TickBatch, numbers: npt.NDArray[np.int64]) -> int:
        new = 0
        for width, values in tick_values(ticks, numbers, self._max_parameters):
            table = self._ticks[width]
            inserted = table.insert(cursor, values)
            if inserted < len(values) // width:
                _require_same("ticks", table.first_different(cursor, values))
            new += inserted
        return new

    def _insert_records(
        self, cursor: sqlite3.Cursor, kind: type[Record], records: list[Any], last_n: dict[str, int]
    ) -> int:
        layout, table = RECORD_LAYOUTS[kind], self._records[kind]
        if kind is OrderRecord:
            records = merge_order_updates(records)
        before = last_n[layout.name]
        values = record_values(layout, records, before)
        changed = table.insert(cursor, values)
        if layout.is_numbered:
            last_n[layout.name] += len(records)
        if kind is OrderRecord:
            # Updates count as changes too; only new orders have a number beyond the last.
            query = f"SELECT count(*) FROM {table.table} WHERE session_no = ? AND n > ?"  # noqa: S608
            return cast(int, cursor.execute(query, (self._session_no, before)).fetchone()[0])
        if changed < len(records):
            _require_same(layout.name, table.first_different(cursor, values, "n" if layout.is_numbered else ""))
        return changed

    def _intern(self, cursor: sqlite3.Cursor, table: InstrumentTable) -> npt.NDArray[np.int64]:
        """Return the database's number of each instrument by index; number new instruments and store their rules."""
        known, total = len(self._numbers), len(table)
        if known == total:
            return self._numbers
        fresh = [self._intern_instrument(cursor, table[index]) for index in range(known, total)]
        cursor.executemany(
            "INSERT INTO session_instruments (session_no, n, instrument_no, rules) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            [
                (self._session_no, index, number, msgspec.json.encode(table[index]).decode())
                for index, number in enumerate(fresh, known)
            ],
        )
        return np.concatenate([self._numbers, np.array(fresh, dtype=np.int64)])

    @staticmethod
    def _intern_instrument(cursor: sqlite3.Cursor, instrument: Instrument) -> int:
        identity = (*instrument.key, instrument.price_scale, instrument.size_scale)
        cursor.execute(
            "INSERT INTO instruments (venue, symbol, price_scale, size_scale, price_divisor, size_divisor)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (*identity, float(10**instrument.price_scale), float(10**instrument.size_scale)),
        )
        cursor.execute(
            "SELECT instrument_no FROM instruments"
            " WHERE venue = ? AND symbol = ? AND price_scale = ? AND size_scale = ?",
            identity,
        )
        return cast(int, cursor.fetchone()[0])

    def _index(self, cursor: sqlite3.Cursor, span: _TickSpan) -> _TickSpan:
        """Add ticks to the sparse index: to its last row while that is small, otherwise to a new row."""
        if self._span is not None and self._span.count < TICKS_PER_BATCH_ROW:
            span = self._span.merge(span)
        self._span_row.insert(cursor, list(span))
        return span

    def _find_session(self, session_id: str) -> int:
        found = self._connection.execute(
            "SELECT session_no FROM sessions WHERE session_id = ?", (session_id,)
        ).fetchone()
        if found is None:
            raise StorageError(f"{self._path}: expected a started session, got no row for {session_id}")
        return cast(int, found[0])

    def _require_same_files(self) -> None:
        """Raise DatabaseError REPLACED if the committed rows went to a file that no longer has the database's name."""
        now = read_file_ids(self._path)
        if now != self._files:
            changed = zip(FILE_SUFFIXES, self._files, now, strict=True)
            lost = " and ".join(self._path.name + suffix for suffix, old, new in changed if old != new)
            raise DatabaseError(
                Cause.REPLACED, f"{self._path.parent}: expected the files this session opened, got another or no {lost}"
            )

    def _count_lock_timeout(self, seconds: float) -> None:
        self._lock_timeouts += 1
        self._on_wait(seconds)


def _require_same(table: str, key: object) -> None:
    if key is not None:
        raise DatabaseError(Cause.CONFLICT, f"{table}: expected a new row or the same again, got another at key {key}")
