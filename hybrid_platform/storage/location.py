"""Location of the database: the meaning of a URL or a path in the settings, and the files that belong to it.

in: settings, URLs, paths · out: checked paths, or a ConfigError. SQLite itself follows dangling links and
accepts ``file:`` URIs, so it only ever receives a path that was checked here. Free of SQLAlchemy, so that the
healthcheck need not load it.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.storage.errors import Cause, DatabaseError

if TYPE_CHECKING:
    from hybrid_platform.settings.session import SessionSettings

SETTING = "database_url"
SIDECAR_SUFFIXES = ("-wal", "-shm")
"""Suffixes of the write-ahead log and its index, which belong to the database file."""
FILE_SUFFIXES = ("", *SIDECAR_SUFFIXES)

FileId = tuple[int, int]
"""Device and inode."""


def resolve_database_url(settings: SessionSettings) -> str:
    """Return the URL of a session's database."""
    return settings.database_url or default_url(settings.data_dir)


def default_url(data_dir: str | Path) -> str:
    """Return the URL of the database that ``database_url: null`` means."""
    return sqlite_url(Path(data_dir) / "bot.db")


def sqlite_url(path: str | Path) -> str:
    """Return the URL of a database file; a relative path is relative to the working directory."""
    # Not resolve(): a link on the way has to be refused, not followed.
    return f"sqlite:///{quote(os.fsencode(os.path.abspath(path)))}"  # noqa: PTH100


def sqlite_path(url: str) -> Path:
    """Return the checked path of a SQLite URL's file.

    Raises ConfigError for a URL of another database, or a path that must not be opened.
    """
    scheme, mark, rest = url.partition("://")
    if scheme.partition("+")[0] != "sqlite":
        got = f"{scheme[:40]}://…" if mark else "another text"
        raise ConfigError([Fault(SETTING, "a SQLite URL, sqlite:///path", got)])
    host, _, database = rest.partition("/")
    if host or "?" in database:
        raise ConfigError([Fault(SETTING, "sqlite:///path without host and options", "one with them")])
    try:
        path = os.fsdecode(unquote_to_bytes(database))
    except UnicodeError:
        raise ConfigError([Fault(SETTING, "a path in UTF-8", repr(database[:80]))]) from None
    return check_database_path(path)


def redact_url(url: str) -> str:
    """Return a URL without user, password and options, for messages and evidence."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return "…"
    authority, slash, database = rest.partition("?")[0].partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{database}"


def check_database_path(text: str) -> Path:
    """Return the absolute path of the database that a setting names; create nothing.

    Raises ConfigError for a memory database, a ``file:`` URI, ``..``, control characters, names that are too long,
    links, and anything that is not a regular file. Only the file and its directory are checked for links: the path
    above them belongs to the operator (``/tmp`` may be a link).
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
        for each in (path.parent, *(path.with_name(path.name + suffix) for suffix in FILE_SUFFIXES)):
            _check_plain(each, is_directory=each == path.parent)
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _refused("a path that can be read", f"{shown}: {reason}") from None
    return path


def create_database_file(path: Path) -> None:
    """Create an empty database file with mode 0600 and its missing directories with 0700, unless it exists.

    Raises DatabaseError if the system refuses.
    """
    try:
        for parent in reversed([parent for parent in path.parents if not parent.exists()]):
            with suppress(FileExistsError):
                parent.mkdir(mode=0o700)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise DatabaseError(Cause.MISSING, f"making {path}: {error.strerror}") from error


def read_file_ids(path: Path) -> tuple[FileId | None, ...]:
    """Return the identity of the database's three files, in the order of `FILE_SUFFIXES`; None for a missing one.

    A change means that a file was replaced under a writer, whose later rows would be lost (L4).
    """
    return tuple(_read_file_id(f"{path}{suffix}") for suffix in FILE_SUFFIXES)


def _read_file_id(path: str) -> FileId | None:
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
        # SQLite finds the log and its index by the file's name: through a second name it would miss them.
        raise _refused("a file with one name", f"{path} (a hard link: {status.st_nlink} names)")


def _refused(expected: str, got: str) -> ConfigError:
    return ConfigError([Fault(SETTING, expected, got)])
