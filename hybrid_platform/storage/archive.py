"""Reader of ticks that retention moved to Parquet files.

in: an engine and a session's number · out: the rows as they were in ``tick_rows``, ordered by ``seq``. Each file
is checked against its registered digest first: a missing or changed file is an error, never a shorter session.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from hybrid_platform.domain.errors import StorageError
from hybrid_platform.storage import schema
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.errors import Cause, DatabaseError
from hybrid_platform.storage.tick_rows import TickRows, concatenate_rows

TickViewRow = tuple[Any, ...]
"""Row of the view ``ticks``, without the session's id."""


class TicksArchived(StorageError):
    """Raised when only the database is queried for a session whose ticks are in the archive."""


def count_archived_ticks(connection: sa.Connection, session_no: int) -> int:
    """Return how many of a session's ticks are registered as archived."""
    if not _has_archives(connection):
        return 0
    files = schema.TICK_ARCHIVES.c
    query = sa.select(sa.func.coalesce(sa.func.sum(files["count"]), 0)).where(files.session_no == session_no)
    return int(connection.scalar(query) or 0)


def require_in_database(connection: sa.Connection, session_no: int, query: str) -> None:
    """Raise TicksArchived if ticks of a session were moved to the archive."""
    count = count_archived_ticks(connection, session_no)
    if count:
        raise TicksArchived(f"{query}: expected the session's ticks in the database, got {count:,} in the archive")


def list_archived_files(engine: sa.Engine, session_no: int) -> list[tuple[Path, sa.Row[Any]]]:
    """Return a session's archived files in order, each with its row of ``tick_archives``."""
    with transaction(engine, "looking for archived ticks") as connection:
        if not _has_archives(connection):
            return []
        files = schema.TICK_ARCHIVES
        query = sa.select(files).where(files.c.session_no == session_no).order_by(files.c.n)
        found = list(connection.execute(query))
        root = _read_root(connection) if found else Path()
    return [(root / row.folder / row.path, row) for row in found]


def read_archived_rows(engine: sa.Engine, session_no: int, *, after: int = -1, rows_at_once: int) -> Iterator[TickRows]:
    """Yield a session's archived rows after ``seq`` ``after``, at most ``rows_at_once`` at a time.

    Raises DatabaseError: MISSING for a missing file, CORRUPT for a changed one.
    """
    for _, files in groupby(list_archived_files(engine, session_no), key=lambda file: file[1].part):
        wanted = [(path, row) for path, row in files if row.last_seq > after]
        if not wanted:
            continue
        rows = concatenate_rows([_read(path, row) for path, row in wanted])
        rows = rows.take(np.argsort(rows.seq, kind="stable"))
        rows = rows.where(rows.seq > after)
        for start in range(0, len(rows.seq), rows_at_once):
            yield rows.slice(start, start + rows_at_once)


def read_archived_view(
    engine: sa.Engine, session_no: int, *, after: int = -1, rows_at_once: int
) -> Iterator[list[TickViewRow]]:
    """Yield the archived rows in the columns of the view ``ticks``, without the session's id."""
    instruments: dict[int, sa.Row[Any]] = {}
    for rows in read_archived_rows(engine, session_no, after=after, rows_at_once=rows_at_once):
        if not instruments:
            with transaction(engine, "reading instruments") as connection:
                instruments = {row.instrument_no: row for row in connection.execute(sa.select(schema.INSTRUMENTS))}
        yield [
            (
                seq,
                instruments[number].venue,
                instruments[number].symbol,
                price / instruments[number].price_divisor,
                size / instruments[number].size_divisor,
                {1: "BUY", -1: "SELL"}.get(side),
                None if ref is None else str(ref),
                ts_event,
                ts_recv,
            )
            for seq, number, price, size, side, ts_event, ts_recv, ref in zip(
                *(column.tolist() for column in rows.columns), rows.refs, strict=True
            )
        ]


def _has_archives(connection: sa.Connection) -> bool:
    """Return False for a database that a reader opens before this release has migrated it."""
    return sa.inspect(connection).has_table(schema.TICK_ARCHIVES.name)


def _read_root(connection: sa.Connection) -> Path:
    """Return the directory of the database, to which stored folders are relative."""
    return Path(connection.exec_driver_sql("PRAGMA database_list").all()[0][2]).parent


def _read(path: Path, row: sa.Row[Any]) -> TickRows:
    from hybrid_platform.storage.archive_files import decode  # loads pyarrow, which only archived sessions need

    content = read_file(path)
    if hashlib.sha256(content).hexdigest() != row.sha256:
        raise DatabaseError(Cause.CORRUPT, f"{path}: expected the archived file of sha256 {row.sha256}, got another")
    try:
        return decode(content)
    except ValueError as error:
        raise DatabaseError(Cause.CORRUPT, f"{path}: {error}") from None


def read_file(path: Path) -> bytes:
    """Return an archived file's content; raise DatabaseError MISSING if it cannot be read."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            return file.read()
    except OSError as error:
        raise DatabaseError(Cause.MISSING, f"{path}: expected archived ticks, got: {error.strerror}") from None
