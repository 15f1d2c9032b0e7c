"""What a process does to itself before it is guarded: die with its parent, drop capabilities, leave the network.

And what the parent does: refuse to be read by others. Linux; each raises OSError where it is refused.
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
    """Be killed when the thread that started this process ends. Raises OSError where it is gone already."""
    _linux.prctl(_linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError(errno.ESRCH, f"expected parent {parent}, got {os.getppid()}")


def drop_capabilities() -> None:
    """Give up every capability, so that root in here is nobody special; it cannot come back."""
    _linux.prctl(_linux.PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), 8)
    none = ctypes.create_string_buffer(24)
    _linux.syscall(_linux.SYS_CAPSET[_linux.machine() or ""], ctypes.addressof(header), ctypes.addressof(none))


def leave_network() -> None:
    """Move into an empty network namespace; without privilege, inside a user namespace of one's own.

    Needs a process with a single thread.
    """
    try:
        _linux.unshare(_CLONE_NEWNET)
    except PermissionError:
        _linux.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def name_thread(name: str) -> None:
    """Name the calling thread where ``/proc`` shows it; the kernel keeps 15 bytes. Elsewhere: nothing."""
    if _linux.machine() is not None:
        buffer = ctypes.create_string_buffer(name.encode("ascii", "replace"))
        _linux.prctl(_linux.PR_SET_NAME, ctypes.addressof(buffer))


def set_dumpable(*, dumpable: bool) -> None:
    """Let this process be traced and dumped by its user's other processes, or not.

    Without it ``/proc/<pid>`` belongs to root: nobody else reads its memory, environment, descriptors or
    limits, there are no core dumps, and debuggers and profilers of the same user cannot attach. What it
    reads about itself stays readable, but for files that are opened by owner (``/proc/self/environ``).
    """
    _linux.prctl(_linux.PR_SET_DUMPABLE, int(dumpable))


def is_dumpable() -> bool:
    """Return what `set_dumpable` set, read back."""
    return _linux.prctl(_linux.PR_GET_DUMPABLE) == 1
