"""Landlock: files that are not granted cannot be opened, written, created or removed (I1).

In: `Grants`. Out: a `LandlockStatus` of what the kernel accepted. Seccomp cannot tell one file from another; Landlock
can, for root too. It also keeps the process from tracing (``/proc/<pid>/mem``) and signalling other processes. It
binds a thread and its descendants, so apply it while there is one thread; from ABI 8 on the kernel includes the others.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from pathlib import Path

from hybrid_platform.domain.isolation import LandlockStatus
from hybrid_platform.sandbox import _linux
from hybrid_platform.sandbox.grants import Grants

_VERSION = 1
_RULE_PATH_BENEATH = 1
_RESTRICT_TSYNC, _TSYNC_ABI = 1 << 3, 8

WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
MAKE_DIR, MAKE_REG, TRUNCATE = 1 << 7, 1 << 8, 1 << 14
_RIGHTS_OF_A_FILE = WRITE_FILE | READ_FILE | TRUNCATE
_WRITE = WRITE_FILE | READ_FILE | READ_DIR | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | TRUNCATE

_FS_BITS = {1: 13, 2: 14, 3: 15, 5: 16, 9: 17}
"""Number of file rights by ABI: 2 added REFER, 3 TRUNCATE, 5 IOCTL_DEV, 9 RESOLVE_UNIX."""


def read_abi() -> int:
    """Return the kernel's Landlock ABI, or 0 without Landlock."""
    if _linux.machine() is None:
        return 0
    try:
        return _linux.syscall(_linux.SYS_LANDLOCK_CREATE_RULESET, 0, 0, _VERSION)
    except OSError:
        return 0


def supported_rights(version: int) -> tuple[int, int, int]:
    """Return the bit masks of what an ABI can deny: file rights, network rights, scopes.

    All of them are denied. Network rights are TCP bind and connect, from ABI 4 on; scopes are abstract sockets and
    signals, from ABI 6 on.
    """
    bits = max((count for since, count in _FS_BITS.items() if since <= version), default=0)
    return (1 << bits) - 1, 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0


def restrict(grants: Grants) -> LandlockStatus:
    """Confine the calling thread to ``grants``; NoNewPrivs must be set. Raises OSError.

    ``all_threads`` of the result is True if no thread of the process can be outside.
    """
    version = read_abi()
    if version == 0:
        return LandlockStatus(abi=0, error="this kernel has no Landlock, or it is switched off")
    fs, net, scoped = supported_rights(version)
    attributes = struct.pack("=QQQ", fs, net, scoped)[: 8 if version < 4 else 16 if version < 6 else 24]
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    ruleset = _linux.syscall(_linux.SYS_LANDLOCK_CREATE_RULESET, ctypes.addressof(buffer), len(attributes), 0)
    try:
        for paths, rights in ((grants.read, READ_FILE | READ_DIR), (grants.listing, READ_DIR), (grants.write, _WRITE)):
            for path in paths:
                _allow(ruleset, os.fspath(path), rights & fs)
        alone = len(list(Path("/proc/self/task").iterdir())) == 1
        synchronised = version >= _TSYNC_ABI
        _linux.syscall(_linux.SYS_LANDLOCK_RESTRICT_SELF, ruleset, _RESTRICT_TSYNC if synchronised else 0)
    finally:
        os.close(ruleset)
    return LandlockStatus(
        abi=version,
        handled_fs=fs,
        handled_net=net,
        scoped=scoped,
        all_threads=alone or synchronised,
        readable=tuple(map(str, grants.read)),
        listable=tuple(map(str, grants.listing)),
        writable=tuple(map(str, grants.write)),
    )


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _RIGHTS_OF_A_FILE
        if rights:
            buffer = ctypes.create_string_buffer(struct.pack("=Qi", rights, descriptor), 12)
            _linux.syscall(_linux.SYS_LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.addressof(buffer), 0)
    finally:
        os.close(descriptor)
