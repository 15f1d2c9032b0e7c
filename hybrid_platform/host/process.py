"""The identity of a process across its host's boots, and this process's heap.

in: a process number and ``/proc`` · out: a `ProcessIdentity` that is not confused with a later process of the
same number. Leases, session rows and liveness files carry it, so that another process can tell whether the
writer still runs.
"""

from __future__ import annotations

import ctypes
import os
import platform
from contextlib import suppress
from pathlib import Path

import msgspec


class ProcessIdentity(msgspec.Struct, frozen=True):
    """A process on a host, identified by number, boot and start time."""

    pid: int
    host: str
    boot_id: str | None
    """Id of the host's boot; None if the host does not report one."""
    pid_started: int | None
    """Clock ticks from boot to the process's start; None if the host does not report it."""

    @property
    def is_gone(self) -> bool:
        """Whether the process has certainly ended; False for a process of another host, which cannot be checked."""
        here = this_process()
        if self.host != here.host:
            return False
        if self.boot_id != here.boot_id:
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return _read_start_ticks(self.pid) != self.pid_started

    @property
    def is_of_this_boot(self) -> bool:
        """Whether the process belongs to this host and its current boot, so that this kernel can answer for it."""
        here = this_process()
        return (self.host, self.boot_id) == (here.host, here.boot_id)

    @property
    def is_other_live_process(self) -> bool:
        """Whether another process of this host with this identity certainly runs now."""
        return self.is_of_this_boot and self.pid != os.getpid() and not self.is_gone


def this_process() -> ProcessIdentity:
    """Return the identity of the calling process."""
    boot_id = None
    with suppress(OSError):
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ProcessIdentity(os.getpid(), platform.node(), boot_id, _read_start_ticks(os.getpid()))


def trim_heap() -> None:
    """Return freed heap memory to the operating system (glibc only; a no-op with other C libraries).

    glibc keeps freed memory in one arena per thread. Trimming between two phases keeps their peaks from adding up.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _read_start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if there is none or it is a zombie."""
    try:
        # The process name in parentheses may itself contain spaces and parentheses: count from its end.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None
