"""The only engine factory: every use of the database through SQLAlchemy gets its engine here.

in: ``database_url`` and a role · out: an engine that applies and reads back the PRAGMAs of each connection
before its first use (S1, I5, G3). Writers wait for a locked database (S12).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool, StaticPool

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.storage.connection import (
    LOCK_WAIT_SECONDS,
    MIN_BUSY_TIMEOUT_MS,
    Role,
    apply_pragmas,
    begin_immediate,
    connect,
)
from hybrid_platform.storage.errors import Cause, DatabaseError, storage_errors, to_storage_error
from hybrid_platform.storage.location import sqlite_path


def open_engine(
    url: str,
    *,
    role: Role,
    busy_timeout_ms: int = MIN_BUSY_TIMEOUT_MS,
    lock_wait_seconds: float = LOCK_WAIT_SECONDS,
    single_connection: bool = False,
) -> sa.Engine:
    """Return an engine; open no connection and create no file yet.

    Each checkout opens a new connection, which sees the file that has the name at that moment, and closes it
    afterwards. ``single_connection`` keeps one connection until the engine is disposed of: for a thread that sends
    many queries about a finished session, because opening takes longer than most of them. A writer's transactions
    begin IMMEDIATE and wait for a lock up to ``lock_wait_seconds``, in steps of the busy timeout. Connecting raises
    PragmaError for a PRAGMA that does not take effect and DatabaseError for a file that cannot be opened.

    Raises ConfigError for a URL that is not SQLite's or not allowed; the message never contains a password.
    """
    if busy_timeout_ms < MIN_BUSY_TIMEOUT_MS:
        expected = f"at least {MIN_BUSY_TIMEOUT_MS} (I5)"
        raise ConfigError([Fault("storage.busy_timeout_ms", expected, str(busy_timeout_ms))])
    path = sqlite_path(url)
    engine = sa.create_engine(
        "sqlite://",
        poolclass=StaticPool if single_connection else NullPool,
        creator=lambda: connect(path, role, busy_timeout_ms),
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
        apply_pragmas(connection, role, busy_timeout_ms, str(path))

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        raw = raw_connection(connection)
        if role == "write":
            begin_immediate(raw, lock_wait_seconds, str(path))
        else:
            raw.execute("BEGIN")

    return engine


def require_file(url: str) -> None:
    """Raise DatabaseError MISSING if a database's file does not exist: a writer would create an empty one."""
    path = sqlite_path(url)
    if not path.exists():
        raise DatabaseError(Cause.MISSING, f"{path}: expected the database that was checked before, got no file")


@contextmanager
def transaction(engine: sa.Engine, operation: str) -> Iterator[sa.Connection]:
    """Run one transaction of an engine of `open_engine`: commit at the end, roll back on any error.

    A reader's transaction is a snapshot; keep it short, because the log cannot be truncated while it is open.
    Raises StorageError for any error of the drivers.
    """
    try:
        with storage_errors(operation), engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise to_storage_error(error, operation) from error


def raw_connection(connection: sa.Connection) -> sqlite3.Connection:
    """Return the underlying connection of the driver."""
    return cast(sqlite3.Connection, connection.connection.driver_connection)
