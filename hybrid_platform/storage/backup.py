"""Online backup of the database, and its replacement by a backup; each copy is verified first.

in: paths · out: a single file, and a `BackupReport` of its content. A backup is one snapshot, copied in bounded
steps: a session's writer never waits for it (I6), but its log grows until the copy is complete. Archived ticks are
already files and are not included. `maintenance.restore` decides when a backup may replace the database.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from hybrid_platform.domain.errors import ConfigError, Fault, StorageError
from hybrid_platform.storage import schema
from hybrid_platform.storage.connection import MIN_BUSY_TIMEOUT_MS, apply_pragmas, connect
from hybrid_platform.storage.errors import Cause, DatabaseError, storage_errors
from hybrid_platform.storage.location import FILE_SUFFIXES, SIDECAR_SUFFIXES
from hybrid_platform.storage.migrate import known_revisions

STEP_PAGES = 1_024
"""Pages copied per step, eight megabytes."""
MAX_FAULTS = 5


class BackupReport(NamedTuple):
    """Content of a backup."""

    path: Path
    bytes: int
    sha256: str
    revision: str
    sessions: int
    running: int
    """Sessions that were running when the snapshot was taken."""
    rows: dict[str, int]
    """Rows by table over all sessions, without archived ticks."""
    archived_ticks: int
    by_session: dict[str, int]
    """Rows of each session, with archived ticks."""


def back_up(
    database: Path,
    target: Path,
    *,
    overwrite: bool = False,
    step_pages: int = STEP_PAGES,
    on_step: Callable[[int, int], None] = lambda remaining, total: None,
) -> BackupReport:
    """Copy a database to ``target`` and verify the copy; on failure leave no file there.

    ``on_step`` receives the remaining and total number of pages after each step. Raises ConfigError if ``target``
    exists and must not be replaced, StorageError if the copy does not match its ledger.
    """
    if os.path.lexists(target) and (not overwrite or target.samefile(database)):
        raise ConfigError([Fault("--to", "a file that is not there, or --overwrite", str(target))])
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        with storage_errors(f"backing up {database}"):
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            _copy(database, partial, step_pages, on_step)
        report = verify_backup(partial)
        if overwrite:
            partial.replace(target)
        else:
            os.link(partial, target)  # unlike a rename, it never replaces a file that appeared in the meantime
            partial.unlink()
        _sync(target)
    except OSError as error:
        raise DatabaseError(Cause.FAILED, f"backing up to {target}: {error.strerror or error}") from None
    finally:
        for suffix in (*FILE_SUFFIXES, "-journal"):
            Path(f"{partial}{suffix}").unlink(missing_ok=True)
    return report._replace(path=target)


def verify_backup(path: Path) -> BackupReport:
    """Check a backup's pages and schema, and compare every session's rows with its ledger.

    Raises ConfigError for a file that is not a backup of this platform or is from a newer release, StorageError for
    a damaged one or one that does not match its ledger. Writes nothing, not even a log next to the file.
    """
    for suffix in SIDECAR_SUFFIXES:
        sidecar = Path(f"{path}{suffix}")
        if sidecar.exists() and sidecar.stat().st_size:
            raise ConfigError([Fault("backup", "one file", f"{path} with {sidecar.name}, a database in use")])
    try:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
        uri = f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1"
        with storage_errors(f"reading {path}"), closing(sqlite3.connect(uri, uri=True)) as connection:
            return _verify_content(connection, path, digest.hexdigest())
    except OSError as error:
        raise ConfigError([Fault("backup", "a file that can be read", f"{path}: {error.strerror}")]) from None


def replace_database(backup: Path, database: Path, kept: Path) -> None:
    """Replace the database with a copy of a backup, and keep the old one with its sidecar files as ``kept``.

    Call it under the lease. If the process is killed, the name refers to the old or the new database, never to half
    of one. Raises StorageError, without replacing anything, if another process uses the old database or the copy
    does not match its ledger.
    """
    new = database.with_name(f".{database.name}.restoring")
    new.unlink(missing_ok=True)
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file, backup.open("rb") as source:
            shutil.copyfileobj(source, file, 2**20)
            file.flush()
            os.fsync(file.fileno())
        verify_backup(new)
        if database.exists():
            _checkpoint(database)
            os.link(database, kept)
            for suffix in SIDECAR_SUFFIXES:  # SQLite would apply a remaining log to the new file
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{database}{suffix}").rename(f"{kept}{suffix}")
        new.replace(database)
        _sync(database)
    except OSError as error:
        raise DatabaseError(Cause.FAILED, f"restoring {database}: {error.strerror or error}") from None
    finally:
        new.unlink(missing_ok=True)


def _copy(database: Path, partial: Path, step_pages: int, on_step: Callable[[int, int], None]) -> None:
    with (
        closing(connect(database, "read", MIN_BUSY_TIMEOUT_MS)) as source,
        closing(sqlite3.connect(partial, isolation_level=None)) as copy,
    ):
        apply_pragmas(source, "read", MIN_BUSY_TIMEOUT_MS, str(database))
        # An open transaction keeps one snapshot for all steps; without it, each commit of a session restarts the copy.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        source.backup(copy, pages=step_pages, progress=lambda _status, remaining, total: on_step(remaining, total))
        source.execute("COMMIT")
        copy.execute("PRAGMA journal_mode = DELETE")
    _sync(partial)


def _verify_content(connection: sqlite3.Connection, path: Path, sha256: str) -> BackupReport:
    integrity = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({MAX_FAULTS})")]
    if integrity != ["ok"]:
        raise DatabaseError(Cause.CORRUPT, f"{path}: expected integrity_check ok, got {'; '.join(integrity)[:500]}")
    tables = {str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    revision = _read_known_revision(connection, path, tables)
    faults: list[str] = []
    total = dict.fromkeys(schema.COUNTED_TABLES, 0)
    by_session: dict[str, int] = {}
    archived_total = running = 0
    sessions = connection.execute("SELECT session_no, session_id, state FROM sessions ORDER BY session_no").fetchall()
    for number, session_id, state in sessions:
        running += state == "RUNNING"
        archived = _sum_counts(connection, "tick_archives", number) if "tick_archives" in tables else 0
        archived_total += archived
        stored = _count_stored_rows(connection, number)
        for name, count in stored.items():
            total[name] += count
        present = stored | {"ticks": stored["ticks"] + archived}
        by_session[str(session_id)] = sum(present.values())
        written = _sum_counts(connection, "tick_batches", number)
        if present["ticks"] != written:
            faults.append(f"{session_id} ticks: expected {written:,} as written in batches, got {present['ticks']:,}")
        if state != "RUNNING":
            faults += _compare_with_ledger(connection, session_id, present)
    if faults:
        more = f" and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
        raise StorageError(f"{path}: {'; '.join(faults[:MAX_FAULTS])}{more}")
    return BackupReport(
        path, path.stat().st_size, sha256, revision, len(sessions), running, total, archived_total, by_session
    )


def _read_known_revision(connection: sqlite3.Connection, path: Path, tables: set[str]) -> str:
    if not {"alembic_version", "sessions"} <= tables:
        raise ConfigError([Fault("backup", "a database of this platform", f"{path}: tables {sorted(tables)[:5]}")])
    revision = str(connection.execute("SELECT max(version_num) FROM alembic_version").fetchone()[0])
    if revision not in known_revisions():
        raise ConfigError([Fault("backup", "a schema that this release knows", f"{path}: revision {revision}")])
    return revision


def _count_stored_rows(connection: sqlite3.Connection, session_no: int) -> dict[str, int]:
    """Return a session's rows by table, without archived ticks."""
    counts = {}
    for name, table in schema.COUNTED_TABLES.items():
        query = f'SELECT count(*) FROM "{table.name}" WHERE session_no = ?'  # noqa: S608  # a table name of the schema
        counts[name] = int(connection.execute(query, (session_no,)).fetchone()[0])
    return counts


def _sum_counts(connection: sqlite3.Connection, table: str, session_no: int) -> int:
    """Return the sum of the column ``count`` over a session's rows of ``tick_batches`` or ``tick_archives``."""
    query = f'SELECT coalesce(sum("count"), 0) FROM {table} WHERE session_no = ?'  # noqa: S608
    return int(connection.execute(query, (session_no,)).fetchone()[0])


def _compare_with_ledger(connection: sqlite3.Connection, session_id: str, present: dict[str, int]) -> list[str]:
    query = "SELECT name, count FROM ledger WHERE session_id = ? AND kind = 'table' AND reason = 'counted'"
    ledger = dict(connection.execute(query, (session_id,)).fetchall())
    return [
        f"{session_id} {name}: expected {ledger[name]} as in its ledger, got {count:,}"
        for name, count in present.items()
        if name in ledger and ledger[name] != count
    ]


def _checkpoint(database: Path) -> None:
    """Checkpoint the log of the database to be replaced, so that it is kept as one file.

    Raises DatabaseError LOCKED if another process uses it: a kill could separate it from its log. A damaged
    database, which was not intact before, is kept unchanged.
    """
    is_held = False
    try:
        with (
            storage_errors(f"emptying the log of {database}"),
            closing(connect(database, "write", MIN_BUSY_TIMEOUT_MS)) as connection,
        ):
            is_held = bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
    except DatabaseError as error:
        is_held = error.cause is Cause.LOCKED
    if is_held:
        raise DatabaseError(
            Cause.LOCKED, f"{database}: expected no other process to use it during a restore, got one that does"
        )


def _sync(path: Path) -> None:
    for target in (path, path.parent):
        descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
