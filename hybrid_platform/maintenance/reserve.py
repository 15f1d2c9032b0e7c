"""Reserve of file descriptors and disk space, so that a session can record its end on an exhausted host (L4).

in: the data directory · out: resources that no other process can take. One part is released before the session is
closed, the rest before the postflight: between the two, SQLite checkpoints its log into the database and may use up
all free space.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress

from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.security.paths import DataDir

DESCRIPTORS = 16
DISK_BYTES = 2 << 20
"""Size of each of the two files: more than ``session.json`` needs, and more than postflight, report and plots need."""
CLOSE_RESERVE, POSTFLIGHT_RESERVE = "control/reserve-to-close", "control/reserve-to-judge"


def hold_reserve(data_dir: DataDir) -> ExitStack:
    """Take descriptors and disk space; raise OSError or StorageError if the host has none left.

    Closing the returned stack releases the resources for the session's end, `release_postflight_reserve` the rest.
    """
    with ExitStack() as held:
        for _ in range(DESCRIPTORS):
            held.callback(os.close, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        _allocate(data_dir, POSTFLIGHT_RESERVE)
        held.callback(data_dir.resolve(CLOSE_RESERVE).unlink, missing_ok=True)
        _allocate(data_dir, CLOSE_RESERVE)
        return held.pop_all()


def release_postflight_reserve(data_dir: DataDir) -> None:
    """Release the disk space for postflight and report; do nothing without a reserve."""
    with suppress(OSError, PlatformError):
        data_dir.resolve(POSTFLIGHT_RESERVE).unlink(missing_ok=True)


def _allocate(data_dir: DataDir, name: str) -> None:
    descriptor = data_dir.open(name, os.O_WRONLY | os.O_CREAT)
    try:
        os.posix_fallocate(descriptor, 0, DISK_BYTES)
    finally:
        os.close(descriptor)
