"""Why the database failed: one documented cause each, and one function that maps the driver's errors onto it.

in: errors of sqlite3 and SQLAlchemy · out: `DatabaseError` with a `Cause`; nothing is swallowed (S12, L4).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import InvalidOperation
from enum import StrEnum

from hybrid_platform.domain.errors import ExitCode, StorageError


class Cause(StrEnum):
    """What is wrong with the database, told apart by what an operator should do."""

    LOCKED = "LOCKED"
    """Another process held it longer than the stated limit: find it, or raise the limit."""
    FULL = "FULL"
    """No room: the disk, a quota or the database's own page limit."""
    READ_ONLY = "READ_ONLY"
    """It may not be written: look at the permissions."""
    MISSING = "MISSING"
    """There is no such file, or it cannot be opened."""
    REPLACED = "REPLACED"
    """The file or its log was deleted, moved or replaced under the session: later rows would vanish."""
    NOT_A_DATABASE = "NOT_A_DATABASE"
    """The file holds something else, or its header is damaged."""
    CORRUPT = "CORRUPT"
    """A page is damaged, or a row holds what was never written there: restore a backup."""
    CONFLICT = "CONFLICT"
    """Another row stands under the same key."""
    UNSTORABLE = "UNSTORABLE"
    """A value that its column cannot hold."""
    FAILED = "FAILED"
    """Anything else; the message has the driver's own words."""


_CAUSES = {
    sqlite3.SQLITE_BUSY: Cause.LOCKED,
    sqlite3.SQLITE_LOCKED: Cause.LOCKED,
    sqlite3.SQLITE_FULL: Cause.FULL,
    sqlite3.SQLITE_READONLY: Cause.READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: Cause.MISSING,
    sqlite3.SQLITE_NOTADB: Cause.NOT_A_DATABASE,
    sqlite3.SQLITE_CORRUPT: Cause.CORRUPT,
    sqlite3.SQLITE_CONSTRAINT: Cause.CONFLICT,
    sqlite3.SQLITE_MISMATCH: Cause.UNSTORABLE,
    sqlite3.SQLITE_TOOBIG: Cause.UNSTORABLE,
}
_CAUSES_EXTENDED = {
    sqlite3.SQLITE_CONSTRAINT_NOTNULL: Cause.UNSTORABLE,  # SQLite stores NaN as NULL
    sqlite3.SQLITE_IOERR_WRITE: Cause.FULL,  # how SQLite tells of quotas and file size limits
    sqlite3.SQLITE_READONLY_DBMOVED: Cause.REPLACED,
}
_NO_RESTART = frozenset({Cause.READ_ONLY, Cause.MISSING, Cause.NOT_A_DATABASE})


class DatabaseError(StorageError):
    """The database could not do what it was asked; ``cause`` says why, and nothing of it was kept."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(f"{message} [{cause}]")
        self.cause = cause
        if cause in _NO_RESTART:
            self.exit_code = ExitCode.CONFIG


class PragmaError(StorageError):
    """A PRAGMA did not take (S1): another file system or file is needed, a restart will not help."""

    exit_code = ExitCode.CONFIG

    def __init__(self, pragma: str, expected: str | int, was: object, where: str) -> None:
        super().__init__(f"PRAGMA {pragma} of {where}: expected {expected}, got {was}")
        self.pragma = pragma
        self.expected = expected
        self.was = was


def to_storage_error(error: Exception, doing: str) -> StorageError:
    """Return a driver's error as ours; ``doing`` says what was tried, and where."""
    if isinstance(error, StorageError):
        return error
    original = getattr(error, "orig", None) or error
    if isinstance(original, sqlite3.Error):
        code = getattr(original, "sqlite_errorcode", None)
        cause = Cause.FAILED if code is None else _CAUSES_EXTENDED.get(code) or _CAUSES.get(code & 0xFF, Cause.FAILED)
        name = getattr(original, "sqlite_errorname", type(original).__name__)
        return DatabaseError(cause, f"{doing}: {original} ({name})")
    if isinstance(original, InvalidOperation):
        return DatabaseError(Cause.CORRUPT, f"{doing}: expected a decimal number, got another text")
    if isinstance(original, OverflowError | UnicodeError | TypeError | ValueError):
        return DatabaseError(Cause.UNSTORABLE, f"{doing}: {type(original).__name__}: {original}")
    # SQLAlchemy's own messages carry statements and parameters: the type and the driver's words are enough.
    return DatabaseError(Cause.FAILED, f"{doing}: {type(original).__name__}")


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn what the driver raises inside, or a value that does not fit, into a StorageError."""
    try:
        yield
    except (sqlite3.Error, ArithmeticError, UnicodeError) as error:
        raise to_storage_error(error, doing) from error
