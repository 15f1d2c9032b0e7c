"""Moves the ticks of ended sessions to the archive and compacts the database; each file is verified first.

in: a writing engine under the lease, an ended session, a file store · out: Parquet files, their rows in
``tick_archives``, a row in the ledger, and none left in ``tick_rows``. A crash between any two steps leaves each
tick in the database or in the archive; files without a row are replaced. `maintenance.retention` decides which
sessions and when.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
import sqlalchemy as sa

from hybrid_platform.domain.errors import StorageError
from hybrid_platform.storage import schema
from hybrid_platform.storage.archive import read_file
from hybrid_platform.storage.archive_files import (
    DAY_NS,
    ArchivedInstrument,
    build_file_name,
    decode,
    encode,
    format_day,
)
from hybrid_platform.storage.engine import raw_connection, transaction
from hybrid_platform.storage.errors import storage_errors
from hybrid_platform.storage.session_records import SessionState
from hybrid_platform.storage.tick_rows import TickRows, concatenate_rows, read_tick_rows

PART_TICKS = 500_000
"""Ticks of one part, a few dozen megabytes of memory. File names depend on it: never change it."""
VACUUM_PAGES = 1_024
"""Pages returned to the disk in one step."""


class FileStore(Protocol):
    """Store of files below a root; a data directory is one."""

    def write_atomic(self, name: str, content: bytes) -> Path:
        """Replace a file atomically and durably, and return its path."""


class ArchivableSession(NamedTuple):
    """An ended session with ticks in the database."""

    session_no: int
    session_id: str
    ended_at: int
    ticks: int


class ArchivedSession(msgspec.Struct, frozen=True):
    """Result of archiving one session's ticks."""

    session_id: str
    ticks: int
    files: int
    bytes: int


class CompactionResult(msgspec.Struct, frozen=True):
    """Space that the database returned to the disk."""

    pages: int
    bytes: int
    free_pages: int
    """Pages that are still free inside the file."""


def find_archivable_sessions(
    engine: sa.Engine, before_ns: int, *, after: int = 0, limit: int | None = None
) -> list[ArchivableSession]:
    """Return the sessions that ended before a wall-clock time and still have ticks in the database, oldest first.

    Only sessions with a number above ``after``, and at most ``limit``: the ticks of each one are counted.
    """
    sessions, ticks = schema.SESSIONS.c, schema.TICKS
    ended = sa.func.coalesce(sessions.ended_at, sessions.started_at)
    has_ticks = sa.exists().where(ticks.c.session_no == sessions.session_no)
    query = sa.select(sessions.session_no, sessions.session_id, ended).where(
        sessions.state != SessionState.RUNNING.value, ended < before_ns, has_ticks, sessions.session_no > after
    )
    with transaction(engine, "looking for old sessions") as connection:
        found = list(connection.execute(query.order_by(sessions.session_no).limit(limit)))
        return [ArchivableSession(*row, _count_ticks(connection, row[0])) for row in found]


def archive_ticks(
    engine: sa.Engine,
    session: ArchivableSession,
    store: FileStore,
    folder: str,
    *,
    folder_as_stored: str,
    at_ns: int,
    part_ticks: int = PART_TICKS,
    on_step: Callable[[str], None] = lambda step: None,
) -> ArchivedSession:
    """Write a session's ticks to files below ``folder`` of ``store``, read each back, then delete the rows.

    ``folder_as_stored`` is the folder's name in the database. Raises StorageError, without deleting anything, if a
    file differs from the database or the session changed in the meantime.
    """
    instruments = _read_instruments(engine)
    files: list[dict[str, Any]] = []
    for part, rows in enumerate(_read_parts(engine, session.session_no, part_ticks)):
        for instrument, day, own in _group_by_file(rows, instruments):
            name = build_file_name(session.session_id, instrument, day, part)
            content = encode(own, session.session_id, instrument)
            path = store.write_atomic(f"{folder}/{name}", content)
            on_step(f"written {name}")
            _verify(path, own)
            files.append(
                {
                    "session_no": session.session_no,
                    "n": len(files) + 1,
                    "part": part,
                    "instrument_no": instrument.number,
                    "day": day,
                    "folder": folder_as_stored,
                    "path": name,
                    "count": len(own.seq),
                    "first_seq": int(own.seq[0]),
                    "last_seq": int(own.seq[-1]),
                    "bytes": len(content),
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "archived_at": at_ns,
                }
            )
    on_step("verified")
    _register_and_delete(engine, session, files)
    on_step("deleted")
    return ArchivedSession(session.session_id, session.ticks, len(files), sum(file["bytes"] for file in files))


def compact_database(engine: sa.Engine, on_step: Callable[[str], None] = lambda step: None) -> CompactionResult:
    """Return free pages to the disk in small steps, each in a separate transaction.

    A database created without incremental vacuum (by another program) is rewritten once. Raises DatabaseError FULL
    if the disk has no space for that.
    """
    with engine.connect() as held:
        raw = raw_connection(held)

        def value(pragma: str) -> int:
            return int(raw.execute(f"PRAGMA {pragma}").fetchone()[0])

        with storage_errors("compacting the database"):
            size, before = value("page_size"), value("page_count")
            if value("auto_vacuum") != 2:
                raw.execute("PRAGMA auto_vacuum = INCREMENTAL")
                raw.execute("VACUUM")
            while free := value("freelist_count"):
                # Each returned row is one moved page: fetch all of them, or the statement stops early.
                raw.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
                on_step("compacted")
                if value("freelist_count") >= free:
                    break
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            pages = before - value("page_count")
            return CompactionResult(pages, pages * size, value("freelist_count"))


def _read_parts(engine: sa.Engine, session_no: int, part_ticks: int) -> Iterator[TickRows]:
    """Yield a session's ticks in parts of ``part_ticks``; the last one may be smaller."""
    pages: list[TickRows] = []
    waiting = 0
    for page in read_tick_rows(engine, session_no):
        pages.append(page)
        waiting += len(page.seq)
        while waiting >= part_ticks:
            rows = concatenate_rows(pages)
            yield rows.slice(0, part_ticks)
            waiting -= part_ticks
            pages = [rows.slice(part_ticks, len(rows.seq))]
    if waiting:
        yield concatenate_rows(pages)


def _group_by_file(
    rows: TickRows, instruments: dict[int, ArchivedInstrument]
) -> Iterator[tuple[ArchivedInstrument, str, TickRows]]:
    days = rows.ts_event // DAY_NS
    for day in np.unique(days):
        of_day = rows.where(days == day)
        for number in np.unique(of_day.instrument_no):
            instrument = instruments.get(int(number))
            if instrument is None:
                raise StorageError(f"archiving ticks: expected instrument {number} in the database, got none")
            yield instrument, format_day(int(day) * DAY_NS), of_day.where(of_day.instrument_no == number)


def _verify(path: Path, rows: TickRows) -> None:
    try:
        found = decode(read_file(path))
    except ValueError as error:
        raise StorageError(f"{path}: {error}; nothing was deleted") from None
    if (len(found.seq), found.sha256) != (len(rows.seq), rows.sha256):
        got = f"{len(found.seq)} ticks of digest {found.sha256[:16]}"
        expected = f"{len(rows.seq)} ticks of digest {rows.sha256[:16]}, as in the database"
        raise StorageError(f"{path}: expected {expected}, got {got}; nothing was deleted")


def _register_and_delete(engine: sa.Engine, session: ArchivableSession, files: list[dict[str, Any]]) -> None:
    """Register the files and delete the rows in one transaction, so that each tick is always in exactly one place."""
    sessions, ticks = schema.SESSIONS.c, schema.TICKS
    with transaction(engine, f"archiving the ticks of {session.session_id}") as connection:
        state = connection.scalar(sa.select(sessions.state).where(sessions.session_no == session.session_no))
        moved, there = sum(file["count"] for file in files), _count_ticks(connection, session.session_no)
        if state in {None, SessionState.RUNNING.value} or there != moved or there != session.ticks:
            raise StorageError(
                f"archiving {session.session_id}: expected an ended session of {moved:,} ticks, got {state} with "
                f"{there:,}; nothing was deleted"
            )
        connection.execute(sa.insert(schema.TICK_ARCHIVES), files)
        connection.execute(
            sa.insert(schema.LEDGER).values(
                session_id=session.session_id, kind="table", name="ticks", reason="archived", count=moved
            )
        )
        connection.execute(sa.delete(ticks).where(ticks.c.session_no == session.session_no))


def _count_ticks(connection: sa.Connection, session_no: int) -> int:
    ticks = schema.TICKS
    query = sa.select(sa.func.count()).select_from(ticks).where(ticks.c.session_no == session_no)
    return int(connection.scalar(query) or 0)


def _read_instruments(engine: sa.Engine) -> dict[int, ArchivedInstrument]:
    columns = schema.INSTRUMENTS.c
    query = sa.select(columns.instrument_no, columns.venue, columns.symbol, columns.price_scale, columns.size_scale)
    with transaction(engine, "reading instruments") as connection:
        return {row[0]: ArchivedInstrument(*row) for row in connection.execute(query)}
