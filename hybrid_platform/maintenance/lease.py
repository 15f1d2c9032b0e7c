"""The lease: one session at a time on one database, whoever starts it and from wherever.

An advisory lock on a file beside the database (in the data directory, for a database server). The
kernel drops it with the process, so a killed session never leaves it behind; whoever holds it knows
that every session still marked RUNNING has crashed. Across hosts that share a file system a kernel may
know nothing of the other's lock: so the holder writes its name into the file and beats there, and
whoever finds the name of another boot looks for a beat before it believes the lock.
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
"""What a holder that is no session calls itself begins so."""
PATIENCE_SECONDS = 120.0
"""How long a session waits for maintenance; one piece of it takes seconds."""
RETRY_SECONDS = 0.25
LEASE_SUFFIX = ".lease"
BEAT_SECONDS = 3.0
"""How often a holder beats."""
WATCH_SECONDS = 10.0
"""How long the beats of a holder elsewhere are waited for: three of them, and a second."""
_LOOK_SECONDS = 0.5
_RECORD_BYTES = 512
"""A record is written over the one before it, always of the same length, so no reader meets half of one."""


class LeaseHeld(GateRefused):
    """Another session runs on the database: wait for its end, or stop it."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(
            f"another session holds the lease {path}: expected nobody, got {holder}; stop it first, or choose another"
            " data_dir or database_url",
            ExitCode.CONFIG,
        )


class LeaseLost(PlatformError):
    """The lease's file was removed or taken over while its session ran: it ends before two write."""


class LeaseHolder(msgspec.Struct, frozen=True):
    """Who holds a lease, as its file says."""

    session_id: str
    owner: ProcessIdentity
    beat: int = 0
    """Counts up while it lives."""

    def __str__(self) -> str:
        return f"session {self.session_id} (process {self.owner.pid} on {self.owner.host})"


def lease_path(database_url: str) -> Path:
    """Return the file whose lock is the lease on a database; raise ConfigError for a URL that is not SQLite's."""
    path = sqlite_path(database_url)
    return path.with_name(path.name + LEASE_SUFFIX)


def read_holder(path: Path) -> LeaseHolder | None:
    """Return who the file says holds the lease; None where it says nobody, or nothing that can be understood.

    It takes no lock, so it disturbs nobody who does. A holder that was killed stands there until the next one.
    """
    try:
        # VerifiedPayload anew each time: a network file system asks its server then, and not always in between.
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
    """A held lease; beat, release it, or leave the ``with`` block."""

    def __init__(self, path: Path, session_id: str, *, watch_seconds: float = WATCH_SECONDS) -> None:
        """Take the lease; raise LeaseHeld naming the holder where there is one, StorageError without a file to lock.

        Where the file names a holder of another boot or host, its beats are waited for up to
        ``watch_seconds``; ``taken_from`` is that holder where none came.
        """
        self._path = path
        self.taken_from: LeaseHolder | None = None
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if path.is_symlink():
                raise UnsafePathError(path, "a plain file to lock as lease", "a symbolic link") from None
            raise StorageError(f"{path}: expected a lease file to lock, was: {error.strerror}") from None
        try:
            self._lock()
            self._watch_elsewhere(watch_seconds)
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
                raise StorageError(f"{self._path}: expected a lock, was: {error.strerror}") from None
            raise LeaseHeld(self._path, str(read_holder(self._path) or "somebody who has not said who")) from None

    def _watch_elsewhere(self, seconds: float) -> None:
        first = read_holder(self._path)
        if first is None or first.owner.is_of_this_boot:
            return  # here the kernel's word is enough
        waiting = threading.Event()
        for _ in range(max(1, round(seconds / _LOOK_SECONDS))):
            waiting.wait(min(seconds, _LOOK_SECONDS))
            now = read_holder(self._path)
            if now is not None and now != first:
                raise LeaseHeld(self._path, f"{now}, which beats")
        self.taken_from = first

    def beat(self) -> None:
        """Show that the holder lives; raise LeaseLost where the file is gone or names another.

        Waits for the disk: call it where that may take its time.
        """
        found = read_holder(self._path)
        if found is None or (found.session_id, found.owner) != (self._holder.session_id, self._holder.owner):
            was = str(found) if found is not None else "nobody (was the file removed?)"
            raise LeaseLost(f"{self._path}: expected this session to hold the lease, got {was}")
        self._holder = msgspec.structs.replace(self._holder, beat=self._holder.beat + 1)
        self._write()

    def _write(self) -> None:
        try:
            os.pwrite(self._descriptor, msgspec.json.encode(self._holder).ljust(_RECORD_BYTES - 1) + b"\n", 0)
            os.ftruncate(self._descriptor, _RECORD_BYTES)
            os.fdatasync(self._descriptor)  # or another host would not see it for half a minute
        except OSError as error:
            raise StorageError(f"{self._path}: expected to be writable, was: {error.strerror}") from None

    def release(self) -> None:
        """Give the lease back; safe to call twice."""
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
    """Take the lease for a session; wait for maintenance. Raises LeaseHeld where another session holds it."""
    return _take(path, session_id, PATIENCE_SECONDS, _is_maintenance, on_wait, threading.Event())


def acquire_maintenance_lease(
    path: Path, what: str, wait_seconds: float, on_wait: Callable[[str], None], stop: threading.Event
) -> Lease:
    """Take the lease for maintenance; wait so long for a session to end, or until ``stop``. Raises LeaseHeld."""
    return _take(path, f"{MAINTENANCE} {what}", wait_seconds, lambda holder: True, on_wait, stop)


class LeaseHeartbeat:
    """Shows now and then that a lease's holder lives; call it often."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._due = time.monotonic() + BEAT_SECONDS

    def __call__(self, _step: str) -> None:
        """Beat, if it is time; raise LeaseLost where the lease is another's now."""
        if time.monotonic() >= self._due:
            self._lease.beat()
            self._due = time.monotonic() + BEAT_SECONDS


def _is_maintenance(holder: LeaseHolder | None) -> bool:
    return holder is not None and holder.session_id.startswith(MAINTENANCE)


def _take(
    path: Path,
    name: str,
    seconds: float,
    is_worth_waiting: Callable[[LeaseHolder | None], bool],
    on_wait: Callable[[str], None],
    stop: threading.Event,
) -> Lease:
    deadline = time.monotonic() + seconds
    has_said = False
    while True:
        try:
            return Lease(path, name)
        except LeaseHeld:
            holder = read_holder(path)
            if not is_worth_waiting(holder) or time.monotonic() >= deadline:
                raise
            if not has_said:
                on_wait(str(holder or "somebody who has not said who"))
                has_said = True
            if stop.wait(RETRY_SECONDS):
                raise
