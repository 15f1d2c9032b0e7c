"""What is held back while a session runs, so that one on a host with nothing left can still say how it ended (L4).

in: the data directory · out: file descriptors and disk space that nobody else got. Some is given back before the
session is closed, the rest before it is judged: between the two SQLite empties its log into the database, and
that takes whatever room there is.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress

from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.security.paths import DataDir

DESCRIPTORS = 16
DISK_BYTES = 2 << 20
"""Twice: more than ``session.json`` takes, and more than the judgement with report and plots does."""
TO_CLOSE, TO_JUDGE = "control/reserve-to-close", "control/reserve-to-judge"


def hold_reserve(data_dir: DataDir) -> ExitStack:
    """Take descriptors and disk space; raise OSError or StorageError where the host has no more now.

    Closing what is returned gives back what the session's end needs; `release_to_judge` the rest.
    """
    with ExitStack() as held:
        for _ in range(DESCRIPTORS):
            held.callback(os.close, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        _fill(data_dir, TO_JUDGE)
        held.callback(data_dir.resolve(TO_CLOSE).unlink, missing_ok=True)
        _fill(data_dir, TO_CLOSE)
        return held.pop_all()


def release_to_judge(data_dir: DataDir) -> None:
    """Give back what postflight and report need; nothing where no session held any."""
    with suppress(OSError, PlatformError):
        data_dir.resolve(TO_JUDGE).unlink(missing_ok=True)


def _fill(data_dir: DataDir, name: str) -> None:
    descriptor = data_dir.open(name, os.O_WRONLY | os.O_CREAT)
    try:
        os.posix_fallocate(descriptor, 0, DISK_BYTES)
    finally:
        os.close(descriptor)
