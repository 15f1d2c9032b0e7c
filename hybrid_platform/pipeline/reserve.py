"""What is held back while a session runs, so that one on a host with nothing left can still say how it ended (L4).

in: the data directory · out: file descriptors and disk space that nobody else got; leave the ``with`` block, or
close the stack, and they are there for the evidence.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from hybrid_platform.safety.paths import DataDir

DESCRIPTORS = 16
DISK_BYTES = 2 << 20
"""More than evidence, report and plots of a session take."""
NAME = "control/reserve"


def hold_reserve(data_dir: DataDir) -> ExitStack:
    """Take descriptors and disk space; raise OSError or StorageError where the host has no more now."""
    with ExitStack() as held:
        for _ in range(DESCRIPTORS):
            held.callback(os.close, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        descriptor = data_dir.open(NAME, os.O_WRONLY | os.O_CREAT)
        held.callback(data_dir.resolve(NAME).unlink, missing_ok=True)
        held.callback(os.close, descriptor)
        os.posix_fallocate(descriptor, 0, DISK_BYTES)
        return held.pop_all()
