"""Files: everything that is written stays below one root, with no link followed on the way.

in: names relative to the data directory, bytes · out: files 0600 in directories 0700, or an
`UnsafePathError`. Every component is opened relative to the one before it without following links,
so a link that appears between check and use is refused too. `resolve` and `create_file` serve
libraries that insist on opening by name (SQLite, Parquet). BAD_INPUTS "Paths".
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
LOCK_TRIES, LOCK_PAUSE_S = 200, 0.01
_NOT_PLAIN = {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.EMLINK}
"""What opening a link, a file as directory, a directory as file or a FIFO says."""
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # non-blocking, or a FIFO would hang the opener


class UnsafePathError(ConfigError):
    """A path would leave its root, pass a link, or hit something that is not a plain file."""

    def __init__(self, path: object, expected: str, was: str) -> None:
        super().__init__([Fault(_shown(path), expected, was)])


class DataDir:
    """A directory below which everything is written. Nothing is created before the first write.

    Names are given relative to ``root`` (or as absolute paths inside it). Methods raise
    UnsafePathError for a name or file that is not plain, StorageError where the system fails
    (disk full, permission), FileNotFoundError where there is nothing to read.
    """

    def __init__(self, root: str | Path) -> None:
        _check_text(root, root)
        given = Path(root).absolute()
        # The way to the root is the operator's own (/tmp may be a link); the root itself is not.
        self.root = given.parent.resolve() / given.name if given.name not in {"", ".."} else given.resolve()
        if self.root.is_symlink() or (self.root.exists() and not self.root.is_dir()):
            raise UnsafePathError(root, "a directory", _kind(self.root.lstat()))

    def __repr__(self) -> str:
        return f"DataDir({str(self.root)!r})"

    def resolve(self, name: str | Path) -> Path:
        """Return the absolute path of a name after checking all that exists of it; create nothing."""
        *parents, last = self._parts(name)
        path = self.root.joinpath(*parents, last)
        with _typed(name), suppress(FileNotFoundError), self._directory(parents, create=False) as directory:
            status = os.stat(last, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                _check_plain(name, status)
        return path

    def create_file(self, name: str | Path) -> Path:
        """Make the file 0600 and empty unless it is there, and return its absolute path."""
        descriptor = self.open(name, os.O_WRONLY | os.O_CREAT)
        os.close(descriptor)
        return self.resolve(name)

    def make_dir(self, name: str | Path) -> Path:
        """Make the directory (0700, with its parents) unless it is there, and return its absolute path."""
        parts = self._parts(name)
        with _typed(name), self._directory(parts, create=True):
            return self.root.joinpath(*parts)

    def open(self, name: str | Path, flags: int) -> int:
        """Open a plain file with ``os.open`` flags and return the descriptor; O_CREAT makes it, and its parents."""
        *parents, last = self._parts(name)
        with _typed(name), self._directory(parents, create=bool(flags & os.O_CREAT)) as directory:
            # Never truncate before it is known to be a plain file.
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
        """Return a file's content; raise StorageError where it is longer than ``limit`` bytes."""
        with _typed(name), os.fdopen(self.open(name, os.O_RDONLY), "rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise StorageError(f"{_shown(name)}: expected at most {limit} bytes, got more")
        return content

    def write_atomic(self, name: str | Path, content: bytes, *, durable: bool = True) -> Path:
        """Replace the file whole: a reader, a crash or a power loss meets the old content or the new one.

        Not ``durable``: for what is worth nothing after a power loss, and is not to wait for the disk.
        """
        *parents, last = self._parts(name)
        with _typed(name), self._directory(parents, create=True) as directory:
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
        """Append a block whole or not at all, beside other processes that append to the same file.

        A file that would grow beyond ``rotate_bytes`` becomes ``name.1`` first, ``name.1`` becomes
        ``name.2`` and so on; ``keep`` old ones stay.
        """
        with _typed(name):
            descriptor = self._open_current(name)
            try:
                size = os.fstat(descriptor).st_size
                if rotate_bytes is not None and size and size + len(block) > rotate_bytes:
                    self._rotate(name, keep)  # whoever waits for the lock of the old file finds it moved, and reopens
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
        """Open and lock the file that bears the name now, not one that was just rotated away."""
        for _ in range(LOCK_TRIES):
            descriptor = self.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            with suppress(BlockingIOError, FileNotFoundError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), self.resolve(name).lstat()):
                    return descriptor
            os.close(descriptor)
            time.sleep(LOCK_PAUSE_S)
        waited = LOCK_TRIES * LOCK_PAUSE_S
        raise StorageError(f"{_shown(name)}: expected its lock within {waited:g} s, got held by another process")

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
        """Open a directory below the root, step by step, none of them a link."""
        if create:
            try:
                self.root.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
            except OSError as error:
                was = f"{_shown(self.root)}: {error.strerror}"
                raise UnsafePathError("data_dir", "a directory that is there or can be made", was) from None
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
    """Return the path of a file that the user wants read; raise ConfigError unless it is a readable plain file.

    Links are followed here: what a user names for reading is the user's own.
    """
    try:
        _check_text(path, setting)
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnsafePathError(setting, "a plain file", f"{_kind(status)}: {_shown(path)}")
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        raise UnsafePathError(setting, "a readable file", f"{_shown(path)}: {error.strerror}") from None
    return Path(path)


def check_output_file(path: str | Path, setting: str = "path") -> Path:
    """Return the absolute path of a file outside the data directory that the user wants written.

    Raises ConfigError unless its directory exists and it is absent or a plain file, reached
    through no link of its own.
    """
    _check_text(path, setting)
    given = Path(path).absolute()
    if given.name in {"", ".."} or not given.parent.is_dir():
        raise UnsafePathError(setting, "a file in a directory that exists", _shown(path))
    resolved = given.parent.resolve() / given.name
    with suppress(FileNotFoundError):
        _check_plain(setting, resolved.lstat())
    return resolved


def _check_text(path: str | Path, where: object) -> None:
    text = str(path)
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise UnsafePathError(where, "a path in UTF-8", _shown(path)) from None
    if not text or text == ":memory:" or text.lower().startswith("file:"):
        raise UnsafePathError(where, "the plain path of a file", _shown(path) or "empty")
    if not text.isprintable():
        raise UnsafePathError(where, "a path of printable characters", _shown(path))
    if len(encoded) > MAX_PATH_BYTES or any(len(part) > MAX_NAME_BYTES for part in encoded.split(b"/")):
        limits = f"at most {MAX_PATH_BYTES} bytes, {MAX_NAME_BYTES} a name"
        raise UnsafePathError(where, limits, f"{len(encoded)} bytes")


def _check_plain(path: object, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnsafePathError(path, "a plain file", _kind(status))
    if status.st_nlink > 1:
        raise UnsafePathError(path, "a file with one name", f"a hard link, {status.st_nlink} names")


def _kind(status: os.stat_result) -> str:
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(status.st_mode), "a file")


def _shown(path: object) -> str:
    text = str(path)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 200 else text[:199] + "…"


@contextmanager
def _typed(name: object) -> Iterator[None]:
    """Turn what the system says into what an operator can act on; a missing file stays FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _NOT_PLAIN:
            was = f"a link, directory, FIFO or device ({error.strerror})"
            raise UnsafePathError(name, "a plain file below plain directories", was) from None
        raise StorageError(f"{_shown(name)}: expected to be usable, was: {error.strerror}") from None
