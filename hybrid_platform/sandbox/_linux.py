"""Linux system calls that Python does not wrap, made with ctypes.

In: numbers. Out: results, or OSError. The module can be imported on every system and used on Linux.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import struct
import sys

MACHINES = {"x86_64": "x86_64", "AMD64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
SYS_PIDFD_GETFD = 438
SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_SET_NAME = 1, 3, 4, 15
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 38, 47


def machine() -> str | None:
    """Return ``x86_64`` or ``aarch64`` for a 64-bit Linux process on one of them, else None."""
    if sys.platform != "linux" or struct.calcsize("P") != 8:
        return None
    return MACHINES.get(platform.machine())


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _check_result(result: int) -> int:
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def syscall(number: int, *arguments: int) -> int:
    """Make a system call by its number; pass addresses as integers. Raises OSError."""
    return _check_result(_libc().syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments)))


def prctl(option: int, *arguments: int) -> int:
    """Set or get an attribute of the process; missing arguments are zero. Raises OSError."""
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return _check_result(_libc().prctl(ctypes.c_int(option), *(ctypes.c_ulong(argument) for argument in padded)))


def unshare(flags: int) -> None:
    """Move the process out of the namespaces in ``flags``. Raises OSError."""
    _check_result(_libc().unshare(ctypes.c_int(flags)))
