"""Files below one root directory, opened without following links.

In: names relative to the data directory, and bytes. Out: files with mode 0600 in directories with mode 0700, or an
`UnsafePathError`. Every component is opened relative to the one before it, so a link that appears between check and
use is refused too. `DataDir.resolve` and `DataDir.create_file` serve libraries that open files only by path (SQLite,
Parquet). The section "Paths" of docs/bad-inputs.md lists the cases.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from hybrid_platform.domain.errors import ConfigError, Fault, StorageError

DIRECTORY_MODE, FILE_MODE = 0o700, 0o600
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 1024
MAX_READ_BYTES = 64 * 1024 * 1024
LOCK_ATTEMPTS, LOCK_PAUSE_S = 200, 0.01
_NOT_PLAIN = {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.EMLINK}
"""Errors from opening a link, a file as a directory, a directory as a file, or a FIFO."""
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # non-blocking, because opening a FIFO would hang


class UnsafePathError(ConfigError):
    """A path that would leave its root, follow a link, or reach something other than a plain file."""

    def __init__(self, path: object, expected: str, got: str) -> None:
        super().__init__([Fault(_format_path(path), expected, got)])


class DataDir:
    """The directory that holds all written files. It is created by the first write.

    Names are relative to ``root``, or absolute paths inside it. `append` tries ``lock_attempts`` times to lock a file.
    Methods raise UnsafePathError for a name or file that is not plain, StorageError if the system fails (disk full,
    permission), and FileNotFoundError if there is nothing to read.
    """

    def __init__(self, root: str | Path, *, lock_attempts: int = LOCK_ATTEMPTS) -> None:
        _check_text(root, root)
        self._lock_attempts = lock_attempts
        given = Path(root).absolute()
        # Links on the way to the root are the operator's choice (/tmp may be one); the root itself must not be a link.
        self.root = given.parent.resolve() / given.name if given.name not in {"", ".."} else given.resolve()
        if self.root.is_symlink() or (self.root.exists() and not self.root.is_dir()):
            raise UnsafePathError(root, "a directory", _describe_kind(self.root.lstat()))

    def __repr__(self) -> str:
        return f"DataDir({str(self.root)!r})"

    def resolve(self, name: str | Path) -> Path:
        """Return the absolute path of a name after checking every existing part of it; create nothing."""
        *parents, last = self._parts(name)
        path = self.root.joinpath(*parents, last)
        with _translated_errors(name), suppress(FileNotFoundError), self._directory(parents, create=False) as directory:
            status = os.stat(last, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                _check_plain(name, status)
        return path

    def create_file(self, name: str | Path) -> Path:
        """Create the file empty with mode 0600 unless it exists, and return its absolute path."""
        descriptor = self.open(name, os.O_WRONLY | os.O_CREAT)
        os.close(descriptor)
        return self.resolve(name)

    def make_dir(self, name: str | Path) -> Path:
        """Create the directory and its parents with mode 0700 unless it exists, and return its absolute path."""
        parts = self._parts(name)
        with _translated_errors(name), self._directory(parts, create=True):
            return self.root.joinpath(*parts)

    def open(self, name: str | Path, flags: int) -> int:
        """Open a plain file with ``os.open`` flags and return the descriptor; O_CREAT also creates the parents."""
        *parents, last = self._parts(name)
        with _translated_errors(name), self._directory(parents, create=bool(flags & os.O_CREAT)) as directory:
            # Do not truncate before the check that it is a plain file.
            descriptor = os.open(last, flags & ~os.O_TRUNC | _OPEN_FILE, FILE_MODE, dir_fd=directory)
            try:
                _check_plain(name, os.fstat(descriptor))
                os.set_blocking(descriptor, True)
                if flags & os.O_TRUNC:
                    os.ftruncate(descriptor, 0)
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor

    def read_bytes(self, name: str | Path, limit: int = MAX_READ_BYTES) -> bytes:
        """Return a file's content; raise StorageError if it is longer than ``limit`` bytes."""
        with _translated_errors(name), os.fdopen(self.open(name, os.O_RDONLY), "rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise StorageError(f"{_format_path(name)}: expected at most {limit} bytes, got more")
        return content

    def write_atomic(self, name: str | Path, content: bytes, *, durable: bool = True) -> Path:
        """Replace the file as a whole: after a crash or a power loss it has the old content or the new one.

        Set ``durable`` to False for content that is worthless after a power loss and must not wait for the disk.
        """
        *parents, last = self._parts(name)
        with _translated_errors(name), self._directory(parents, create=True) as directory:
            with suppress(FileNotFoundError):
                _check_plain(name, os.stat(last, dir_fd=directory, follow_symlinks=False))
            temporary = f".tmp-{os.urandom(8).hex()}"
            descriptor = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN_FILE, FILE_MODE, dir_fd=directory
            )
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    if durable:
                        os.fsync(file.fileno())
                os.rename(temporary, last, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=directory)
                raise
            if durable:
                os.fsync(directory)
            return self.root.joinpath(*parents, last)

    def append(self, name: str | Path, block: bytes, *, rotate_bytes: int | None = None, keep: int = 3) -> None:
        """Append a block as a whole or not at all; other processes may append to the same file concurrently.

        If the file would grow beyond ``rotate_bytes``, it is first renamed to ``name.1``, ``name.1`` to ``name.2`` and
        so on; ``keep`` old files are kept.
        """
        with _translated_errors(name):
            descriptor = self._open_current(name)
            try:
                size = os.fstat(descriptor).st_size
                if rotate_bytes is not None and size and size + len(block) > rotate_bytes:
                    self._rotate(name, keep)  # a process that waits for the old file's lock sees this and reopens
                    os.close(descriptor)
                    descriptor = self._open_current(name)
                    size = os.fstat(descriptor).st_size
                written = os.write(descriptor, block)
                if written != len(block):
                    os.ftruncate(descriptor, size)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(descriptor)

    def _open_current(self, name: str | Path) -> int:
        """Open and lock the file that has this name now, not one that was just rotated away."""
        for _ in range(self._lock_attempts):
            descriptor = self.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            with suppress(BlockingIOError, FileNotFoundError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), self.resolve(name).lstat()):
                    return descriptor
            os.close(descriptor)
            time.sleep(LOCK_PAUSE_S)
        waited_s = self._lock_attempts * LOCK_PAUSE_S
        raise StorageError(
            f"{_format_path(name)}: expected its lock within {waited_s:g} s, got held by another process"
        )

    def _rotate(self, name: str | Path, keep: int) -> None:
        *parents, last = self._parts(name)
        with self._directory(parents, create=False) as directory:
            for number in range(keep, 0, -1):
                older = last if number == 1 else f"{last}.{number - 1}"
                with suppress(FileNotFoundError):
                    os.rename(older, f"{last}.{number}", src_dir_fd=directory, dst_dir_fd=directory)

    def _parts(self, name: str | Path) -> list[str]:
        _check_text(name, name)
        path = PurePosixPath(name)
        if path.is_absolute():
            if not path.is_relative_to(self.root):
                raise UnsafePathError(name, f"a path below {self.root}", "outside")
            path = path.relative_to(self.root)
        if not path.parts:
            raise UnsafePathError(name, f"a name below {self.root}", "the directory itself")
        if ".." in path.parts:
            raise UnsafePathError(name, "no `..`", "a path with one")
        return list(path.parts)

    @contextmanager
    def _directory(self, parts: list[str], *, create: bool) -> Iterator[int]:
        """Open a directory below the root component by component, without following links."""
        if create:
            try:
                self.root.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
            except OSError as error:
                got = f"{_format_path(self.root)}: {error.strerror}"
                raise UnsafePathError("data_dir", "a directory that exists or can be created", got) from None
        descriptor = os.open(self.root, _OPEN_DIRECTORY)
        try:
            for part in parts:
                if create:
                    with suppress(FileExistsError):
                        os.mkdir(part, DIRECTORY_MODE, dir_fd=descriptor)
                inner = os.open(part, _OPEN_DIRECTORY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)


def check_input_file(path: str | Path, setting: str = "path") -> Path:
    """Return the path of a file that the user wants to read; raise ConfigError unless it is a readable plain file.

    Links are followed: the user chooses what to read.
    """
    try:
        _check_text(path, setting)
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnsafePathError(setting, "a plain file", f"{_describe_kind(status)}: {_format_path(path)}")
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        raise UnsafePathError(setting, "a readable file", f"{_format_path(path)}: {error.strerror}") from None
    return Path(path)


def check_output_file(path: str | Path, setting: str = "path") -> Path:
    """Return the absolute path of a file outside the data directory that the user wants to write.

    Raises ConfigError unless its directory exists and the file is absent or a plain file that is not a link.
    """
    _check_text(path, setting)
    given = Path(path).absolute()
    if given.name in {"", ".."} or not given.parent.is_dir():
        raise UnsafePathError(setting, "a file in a directory that exists", _format_path(path))
    resolved = given.parent.resolve() / given.name
    with suppress(FileNotFoundError):
        _check_plain(setting, resolved.lstat())
    return resolved


def _check_text(path: str | Path, where: object) -> None:
    text = str(path)
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise UnsafePathError(where, "a path in UTF-8", _format_path(path)) from None
    if not text or text == ":memory:" or text.lower().startswith("file:"):
        raise UnsafePathError(where, "the plain path of a file", _format_path(path) or "empty")
    if not text.isprintable():
        raise UnsafePathError(where, "a path of printable characters", _format_path(path))
    if len(encoded) > MAX_PATH_BYTES or any(len(part) > MAX_NAME_BYTES for part in encoded.split(b"/")):
        limits = f"at most {MAX_PATH_BYTES} bytes, {MAX_NAME_BYTES} a name"
        raise UnsafePathError(where, limits, f"{len(encoded)} bytes")


def _check_plain(path: object, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnsafePathError(path, "a plain file", _describe_kind(status))
    if status.st_nlink > 1:
        raise UnsafePathError(path, "a file with one name", f"a hard link, {status.st_nlink} names")


def _describe_kind(status: os.stat_result) -> str:
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(status.st_mode), "a file")


def _format_path(path: object) -> str:
    text = str(path)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 200 else text[:199] + "…"


@contextmanager
def _translated_errors(name: object) -> Iterator[None]:
    """Translate system errors to errors an operator can act on; a missing file stays FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _NOT_PLAIN:
            got = f"a link, directory, FIFO or device ({error.strerror})"
            raise UnsafePathError(name, "a plain file below plain directories", got) from None
        raise StorageError(f"{_format_path(name)}: expected a usable file, got: {error.strerror}") from None
