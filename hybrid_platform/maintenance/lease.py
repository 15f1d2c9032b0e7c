"""The lease on a database: one session or one maintenance task at a time, from any process or host.

The lease is an advisory lock on a file next to the database. The kernel releases it with the process, so a killed
session leaves none behind, and its holder knows that every session still marked RUNNING has crashed. Hosts that share
a file system may not see each other's locks: the holder therefore writes its identity and a counter (the beat) to the
file, and a process that finds the identity of another boot waits for a beat before it takes the lease.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import msgspec

from hybrid_platform.domain.errors import ExitCode, GateRefused, PlatformError, StorageError
from hybrid_platform.host.process import ProcessIdentity, this_process
from hybrid_platform.security.paths import UnsafePathError
from hybrid_platform.storage.location import sqlite_path

MAINTENANCE = "maintenance:"
"""Prefix of a holder's name that is not a session."""
MAINTENANCE_WAIT_SECONDS = 120.0
"""Longest wait of a session for maintenance, whose single steps take seconds."""
RETRY_SECONDS = 0.25
LEASE_SUFFIX = ".lease"
BEAT_SECONDS = 3.0
"""Interval of a holder's beats."""
WATCH_SECONDS = 10.0
"""Wait for a beat of a holder on another host: three intervals and a second."""
_POLL_SECONDS = 0.5
_RECORD_BYTES = 512
"""Fixed length of a record: it overwrites the previous one, so a reader never sees a partial record."""
_UNKNOWN_HOLDER = "an unidentified process"


class LeaseHeld(GateRefused):
    """Another session uses the database: wait for its end, or stop it."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(
            f"another session holds the lease {path}: expected no holder, got {holder}; stop it first, or choose"
            " another data_dir or database_url",
            ExitCode.CONFIG,
        )


class LeaseLost(PlatformError):
    """The lease's file was removed or taken over during the session, which has to end before two sessions write."""


class LeaseHolder(msgspec.Struct, frozen=True):
    """Holder of a lease, as recorded in its file."""

    session_id: str
    owner: ProcessIdentity
    beat: int = 0
    """Counter that the holder increments while it runs."""

    def __str__(self) -> str:
        return f"session {self.session_id} (process {self.owner.pid} on {self.owner.host})"


def lease_path(database_url: str) -> Path:
    """Return the file whose lock is the lease on a database; raise ConfigError for a URL that is not SQLite's."""
    path = sqlite_path(database_url)
    return path.with_name(path.name + LEASE_SUFFIX)


def read_holder(path: Path) -> LeaseHolder | None:
    """Return the holder recorded in a lease file, or None if the file is missing, empty or unreadable.

    Takes no lock. A killed holder stays recorded until the next one.
    """
    try:
        # Open the file each time: a network file system asks its server only then for the current content.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return msgspec.json.decode(os.pread(descriptor, 4096, 0), type=LeaseHolder)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    finally:
        os.close(descriptor)


class Lease:
    """A held lease, released by `release` or at the end of a ``with`` block."""

    def __init__(self, path: Path, session_id: str, *, watch_seconds: float = WATCH_SECONDS) -> None:
        """Take the lease; raise LeaseHeld with the name of a present holder, StorageError without a file to lock.

        If the file records a holder of another boot or host, wait up to ``watch_seconds`` for its beat; without one,
        ``taken_from`` is that holder.
        """
        self._path = path
        self.taken_from: LeaseHolder | None = None
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if path.is_symlink():
                raise UnsafePathError(path, "a plain file to lock as lease", "a symbolic link") from None
            raise StorageError(f"{path}: expected a lease file to lock, got: {error.strerror}") from None
        try:
            self._lock()
            self._watch_other_host(watch_seconds)
            self._holder = LeaseHolder(session_id, this_process())
            self._write()
        except BaseException:
            self._close()
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise StorageError(f"{self._path}: expected a lock, got: {error.strerror}") from None
            raise LeaseHeld(self._path, str(read_holder(self._path) or _UNKNOWN_HOLDER)) from None

    def _watch_other_host(self, seconds: float) -> None:
        first = read_holder(self._path)
        if first is None or first.owner.is_of_this_boot:
            return  # this kernel knows about every lock of this boot
        pause = threading.Event()
        for _ in range(max(1, round(seconds / _POLL_SECONDS))):
            pause.wait(min(seconds, _POLL_SECONDS))
            now = read_holder(self._path)
            if now is not None and now != first:
                raise LeaseHeld(self._path, f"{now}, which is alive")
        self.taken_from = first

    def beat(self) -> None:
        """Increment the beat; raise LeaseLost if the file is missing or records another holder.

        Waits for the disk: do not call it from a thread that must not block.
        """
        found = read_holder(self._path)
        if found is None or (found.session_id, found.owner) != (self._holder.session_id, self._holder.owner):
            got = str(found) if found is not None else "no holder (was the file removed?)"
            raise LeaseLost(f"{self._path}: expected this session to hold the lease, got {got}")
        self._holder = msgspec.structs.replace(self._holder, beat=self._holder.beat + 1)
        self._write()

    def _write(self) -> None:
        try:
            os.pwrite(self._descriptor, msgspec.json.encode(self._holder).ljust(_RECORD_BYTES - 1) + b"\n", 0)
            os.ftruncate(self._descriptor, _RECORD_BYTES)
            os.fdatasync(self._descriptor)  # without it, another host may not see the beat for half a minute
        except OSError as error:
            raise StorageError(f"{self._path}: expected a writable file, got: {error.strerror}") from None

    def release(self) -> None:
        """Release the lease (idempotent)."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            self._close()

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def acquire_session_lease(path: Path, session_id: str, on_wait: Callable[[str], None]) -> Lease:
    """Take the lease for a session; wait for maintenance to end. Raises LeaseHeld if another session holds it."""
    return _acquire(path, session_id, MAINTENANCE_WAIT_SECONDS, _is_maintenance, on_wait, threading.Event())


def acquire_maintenance_lease(
    path: Path, task: str, wait_seconds: float, on_wait: Callable[[str], None], stop: threading.Event
) -> Lease:
    """Take the lease for maintenance; wait up to ``wait_seconds`` for its holder to end, or until ``stop``.

    ``on_wait`` receives the holder's name once. Raises LeaseHeld after the wait.
    """
    return _acquire(path, f"{MAINTENANCE} {task}", wait_seconds, lambda holder: True, on_wait, stop)


class LeaseHeartbeat:
    """Rate-limited beat of a lease, to be called at every step of a long task."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._due = time.monotonic() + BEAT_SECONDS

    def __call__(self, _step: str) -> None:
        """Beat if the interval has passed; raise LeaseLost if the lease was taken over."""
        if time.monotonic() >= self._due:
            self._lease.beat()
            self._due = time.monotonic() + BEAT_SECONDS


def _is_maintenance(holder: LeaseHolder | None) -> bool:
    return holder is not None and holder.session_id.startswith(MAINTENANCE)


def _acquire(
    path: Path,
    name: str,
    seconds: float,
    should_wait: Callable[[LeaseHolder | None], bool],
    on_wait: Callable[[str], None],
    stop: threading.Event,
) -> Lease:
    deadline = time.monotonic() + seconds
    is_reported = False
    while True:
        try:
            return Lease(path, name)
        except LeaseHeld:
            holder = read_holder(path)
            if not should_wait(holder) or time.monotonic() >= deadline:
                raise
            if not is_reported:
                on_wait(str(holder or _UNKNOWN_HOLDER))
                is_reported = True
            if stop.wait(RETRY_SECONDS):
                raise
