"""Restrictions that a process places on itself: die with its parent, drop capabilities, leave the network.

The parent uses one too: it refuses to be read by other processes. Linux only; each raises OSError if it is refused.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct

from hybrid_platform.sandbox import _linux

_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000
_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x2008_0522


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends. Raises OSError if that has ended."""
    _linux.prctl(_linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError(errno.ESRCH, f"expected parent {parent}, got {os.getppid()}")


def drop_capabilities() -> None:
    """Drop every capability for good, so that root has no privileges in this process."""
    _linux.prctl(_linux.PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), 8)
    none = ctypes.create_string_buffer(24)
    _linux.syscall(_linux.SYS_CAPSET[_linux.machine() or ""], ctypes.addressof(header), ctypes.addressof(none))


def leave_network() -> None:
    """Move into an empty network namespace; without privilege, inside a new user namespace.

    The process must have a single thread.
    """
    try:
        _linux.unshare(_CLONE_NEWNET)
    except PermissionError:
        _linux.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def name_thread(name: str) -> None:
    """Name the calling thread in ``/proc``; the kernel keeps 15 bytes. Do nothing on other systems."""
    if _linux.machine() is not None:
        buffer = ctypes.create_string_buffer(name.encode("ascii", "replace"))
        _linux.prctl(_linux.PR_SET_NAME, ctypes.addressof(buffer))


def set_dumpable(*, dumpable: bool) -> None:
    """Allow or forbid other processes of the user to trace and dump this process.

    If forbidden, ``/proc/<pid>`` belongs to root: only root reads its memory, environment, descriptors and limits, the
    kernel writes no core dump, and debuggers and profilers of the same user cannot attach. The process can still read
    its own files there, except those that need their owner (``/proc/self/environ``).
    """
    _linux.prctl(_linux.PR_SET_DUMPABLE, int(dumpable))


def is_dumpable() -> bool:
    """Return whether this process is dumpable, read back from the kernel."""
    return _linux.prctl(_linux.PR_GET_DUMPABLE) == 1
