"""Database errors, each with one documented cause, and the translation of driver errors into them (S12, L4).

in: errors of sqlite3 and SQLAlchemy · out: a `DatabaseError` with a `Cause`; no error is swallowed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import InvalidOperation
from enum import StrEnum

from hybrid_platform.domain.errors import ExitCode, StorageError


class Cause(StrEnum):
    """Reason for a database failure; one cause for each reaction expected from an operator."""

    LOCKED = "LOCKED"
    """Another process held a lock longer than the limit: find the process, or raise the limit."""
    FULL = "FULL"
    """No space left on the disk, in the quota or below the database's own page limit."""
    READ_ONLY = "READ_ONLY"
    """The file must not be written: check the permissions."""
    MISSING = "MISSING"
    """The file does not exist, or cannot be opened."""
    REPLACED = "REPLACED"
    """The file or its log was deleted, moved or replaced during the session: later rows would be lost."""
    NOT_A_DATABASE = "NOT_A_DATABASE"
    """The file has another format, or its header is damaged."""
    CORRUPT = "CORRUPT"
    """A page is damaged, or a row holds a value that was never written: restore a backup."""
    CONFLICT = "CONFLICT"
    """A different row exists under the same key."""
    UNSTORABLE = "UNSTORABLE"
    """A value does not fit its column."""
    FAILED = "FAILED"
    """Any other error; the message repeats the driver's."""


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
    sqlite3.SQLITE_IOERR_WRITE: Cause.FULL,  # how SQLite reports quotas and file size limits
    sqlite3.SQLITE_READONLY_DBMOVED: Cause.REPLACED,
}
_NO_RESTART = frozenset({Cause.READ_ONLY, Cause.MISSING, Cause.NOT_A_DATABASE})


class DatabaseError(StorageError):
    """A database operation failed and was rolled back; ``cause`` gives the reason."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(f"{message} [{cause}]")
        self.cause = cause
        if cause in _NO_RESTART:
            self.exit_code = ExitCode.CONFIG


class PragmaError(StorageError):
    """A PRAGMA did not take effect (S1): the file or its file system has to change, a restart does not help."""

    exit_code = ExitCode.CONFIG

    def __init__(self, pragma: str, expected: str | int, got: object, where: str) -> None:
        super().__init__(f"PRAGMA {pragma} of {where}: expected {expected}, got {got}")
        self.pragma = pragma
        self.expected = expected
        self.got = got


def to_storage_error(error: Exception, operation: str) -> StorageError:
    """Return a driver's error as a StorageError; ``operation`` describes the operation and its target."""
    if isinstance(error, StorageError):
        return error
    original = getattr(error, "orig", None) or error
    if isinstance(original, sqlite3.Error):
        code = getattr(original, "sqlite_errorcode", None)
        cause = Cause.FAILED if code is None else _CAUSES_EXTENDED.get(code) or _CAUSES.get(code & 0xFF, Cause.FAILED)
        name = getattr(original, "sqlite_errorname", type(original).__name__)
        return DatabaseError(cause, f"{operation}: {original} ({name})")
    if isinstance(original, InvalidOperation):
        return DatabaseError(Cause.CORRUPT, f"{operation}: expected a decimal number, got another text")
    if isinstance(original, OverflowError | UnicodeError | TypeError | ValueError):
        return DatabaseError(Cause.UNSTORABLE, f"{operation}: {type(original).__name__}: {original}")
    # SQLAlchemy's messages repeat statements and parameters, which may be secret: the type is enough.
    return DatabaseError(Cause.FAILED, f"{operation}: {type(original).__name__}")


@contextmanager
def storage_errors(operation: str) -> Iterator[None]:
    """Translate errors of the driver, and of values that do not fit, into a StorageError."""
    try:
        yield
    except (sqlite3.Error, ArithmeticError, UnicodeError) as error:
        raise to_storage_error(error, operation) from error
