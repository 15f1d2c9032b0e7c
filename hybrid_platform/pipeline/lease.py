"""The lease: one session at a time on one database, whoever starts it and from wherever.

An advisory lock on a file beside the database (in the data directory, for a database server). The
kernel drops it with the process, so a killed session never leaves it behind; whoever holds it knows
that every session still marked RUNNING has crashed.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType

from hybrid_platform.domain.errors import ExitCode, GateRefused, StorageError
from hybrid_platform.safety.paths import DataDir
from hybrid_platform.storage.engine import path_of

LEASE_SUFFIX = ".lease"


def lease_path(data_dir: DataDir, database_url: str) -> Path:
    """Return the file whose lock is the lease on a database; its directory is there."""
    if database_url.startswith("sqlite"):
        path = path_of(database_url)
        return path.with_name(path.name + LEASE_SUFFIX)
    return data_dir.make_dir("control") / "session.lease"


class Lease:
    """A held lease; release it, or leave the ``with`` block."""

    def __init__(self, path: Path, session_id: str) -> None:
        """Take the lease; raise GateRefused naming the holder where another process has it."""
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"{path}: expected a lease file to lock, was: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 4096).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise GateRefused(
                f"another session holds the lease {path}: expected nobody, was {holder or 'unknown'}; "
                "stop it first, or choose another data_dir or database_url",
                ExitCode.CONFIG,
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps({"session_id": session_id, "pid": os.getpid()}).encode(), 0)

    def release(self) -> None:
        """Give the lease back; safe to call twice."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
