"""Loading of a filter for the calling thread or all threads of the process; nothing can remove it (I1).

In: a `Filter`. Out: the filter is loaded, or OSError.
"""

from __future__ import annotations

import ctypes
import errno

from hybrid_platform.sandbox import _linux
from hybrid_platform.sandbox.bpf import RET_ERRNO, Filter

_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_TSYNC, _LOG, _NEW_LISTENER, _TSYNC_ESRCH = 1 << 0, 1 << 1, 1 << 3, 1 << 4


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def is_available() -> bool:
    """Return whether this kernel and its container allow a filter to be loaded."""
    machine = _linux.machine()
    if machine is None:
        return False
    action = ctypes.c_uint32(RET_ERRNO)
    try:
        _linux.syscall(_linux.SYS_SECCOMP[machine], _GET_ACTION_AVAIL, 0, ctypes.addressof(action))
    except OSError:
        return False
    return True


def load(filter_: Filter, *, all_threads: bool) -> int | None:
    """Set NoNewPrivs and load the filter; return the listener's descriptor if the filter notifies.

    With ``all_threads`` the filter binds every existing and future thread, or none and raises OSError; otherwise the
    calling thread and its descendants. Raises OSError if the kernel or a container refuses.
    """
    _linux.prctl(_linux.PR_SET_NO_NEW_PRIVS, 1)
    program = _Program(len(filter_.instructions), filter_.program)
    flags = _TSYNC if all_threads else 0
    if filter_.notify:
        result = _set(flags | _NEW_LISTENER | (_TSYNC_ESRCH if all_threads else 0), program)
    else:
        # The parent cannot count, so leave a record in the kernel's log, which no process here can change.
        result = _set_logging(flags, program)
    if filter_.notify:
        return result
    if result != 0:
        raise OSError(errno.ESRCH, f"thread {result} could not be brought under the filter")
    return None


def _set_logging(flags: int, program: _Program) -> int:
    try:
        return _set(flags | _LOG, program)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return _set(flags, program)  # Linux before 4.14


def _set(flags: int, program: _Program) -> int:
    number = _linux.SYS_SECCOMP[_linux.machine() or ""]
    return _linux.syscall(number, _SET_MODE_FILTER, flags, ctypes.addressof(program))
