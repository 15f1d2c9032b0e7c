"""The one engine factory: whoever works on the database through SQLAlchemy gets its engine here.

in: ``database_url`` and a role · out: an engine whose every connection has its PRAGMAs applied and read
back by an event before anybody may use it (S1, I5, G3). Writers wait for a locked database (S12).
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
    keep: bool = False,
) -> sa.Engine:
    """Return an engine; nothing is opened, and no file made, before the first connection.

    Every checkout is a new connection: it sees the file that has the name now, and holds nothing open
    afterwards. With ``keep`` it is one connection until the engine is disposed of, for one thread that asks
    much of a finished session: opening it takes longer than most answers. Transactions of a writer begin
    IMMEDIATE and wait for a lock up to ``lock_wait_seconds`` (in steps of the busy timeout). Connecting
    raises PragmaError for a PRAGMA that does not take and DatabaseError for a file that cannot be opened.

    Raises ConfigError for a URL that cannot be meant; its password is never shown.
    """
    if busy_timeout_ms < MIN_BUSY_TIMEOUT_MS:
        expected = f"at least {MIN_BUSY_TIMEOUT_MS} (I5)"
        raise ConfigError([Fault("storage.busy_timeout_ms", expected, str(busy_timeout_ms))])
    path = sqlite_path(url)
    engine = sa.create_engine(
        "sqlite://",
        poolclass=StaticPool if keep else NullPool,
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
    """Raise DatabaseError MISSING where a database's file is not there (any more): a writer would make an empty one."""
    path = sqlite_path(url)
    if not path.exists():
        raise DatabaseError(Cause.MISSING, f"{path}: expected the database that was checked before, got no file")


@contextmanager
def transaction(engine: sa.Engine, doing: str) -> Iterator[sa.Connection]:
    """One transaction of an engine of `open_engine`: committed at the end, rolled back on any error.

    A reader's is a snapshot; keep it short (DESIGN 3). Raises StorageError for what the drivers raise.
    """
    try:
        with storage_errors(doing), engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise to_storage_error(error, doing) from error


def raw_connection(connection: sa.Connection) -> sqlite3.Connection:
    """Return the driver's connection below."""
    return cast(sqlite3.Connection, connection.connection.driver_connection)
