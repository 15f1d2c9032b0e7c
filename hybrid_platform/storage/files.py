"""The database file: where it may lie, how it is made, and how one notices that it is another one now.

in: the path of a database URL · out: a plain file 0600 in a directory 0700, or a ConfigError. SQLite
itself follows dangling links and honours ``file:`` URIs (DESIGN 4), so it only ever gets a path that
was checked here. Two writers on a replaced file would each lose the other's rows (L4).
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.storage.errors import Cause, DatabaseError

SETTING = "database_url"
COMPANIONS = ("", "-wal", "-shm")
"""The database, its write-ahead log and the log's index: one thing in three files."""

FileId = tuple[int, int]
"""Device and inode."""


def checked_path(text: str) -> Path:
    """Return the absolute path of the database that a setting names; create nothing.

    Raises ConfigError for a memory database, a ``file:`` URI, ``..``, control characters, names that
    are too long, links, and anything there that is not a plain file. The way to the file's directory
    is the operator's own (``/tmp`` may be a link); the directory and the file are not.
    """
    shown = repr(text if len(text) <= 80 else text[:80] + "…")
    if not text.strip() or text.startswith(":memory:"):
        raise _refused("a file that outlives the process", shown)
    if text.lower().startswith("file:"):
        raise _refused("a plain path, not a URI", shown)
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise _refused("a path without control characters", shown)
    if ".." in Path(text).parts:
        raise _refused("a path without `..`", shown)
    try:
        given = Path(text).absolute()
        path = given.parent.parent.resolve() / given.parent.name / given.name
        for each in (path.parent, *(path.with_name(path.name + end) for end in COMPANIONS)):
            _check_plain(each, is_directory=each == path.parent)
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _refused("a path that can be looked at", f"{shown}: {reason}") from None
    return path


def make_file(path: Path) -> None:
    """Make an empty database file 0600, and its missing directories 0700, unless it is there.

    Raises DatabaseError where the system refuses.
    """
    try:
        for parent in reversed([parent for parent in path.parents if not parent.exists()]):
            with suppress(FileExistsError):
                parent.mkdir(mode=0o700)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise DatabaseError(Cause.MISSING, f"making {path}: {error.strerror}") from error


def file_ids(path: Path) -> tuple[FileId | None, ...]:
    """Return which files stand under the database's three names now; None: there is none."""
    return tuple(_file_id(f"{path}{end}") for end in COMPANIONS)


def _file_id(path: str) -> FileId | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _check_plain(path: Path, *, is_directory: bool) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    expected = "a directory" if is_directory else "a plain file"
    if stat.S_ISLNK(status.st_mode):
        raise _refused(f"{expected}, not a link", str(path))
    if not (stat.S_ISDIR if is_directory else stat.S_ISREG)(status.st_mode):
        raise _refused(expected, f"{path} ({stat.filemode(status.st_mode)})")
    if not is_directory and status.st_nlink > 1:
        # The log and its index belong to a name: under a second name SQLite would not find them.
        raise _refused("a file with one name", f"{path} (a hard link: {status.st_nlink} names)")


def _refused(expected: str, was: str) -> ConfigError:
    return ConfigError([Fault(SETTING, expected, was)])
