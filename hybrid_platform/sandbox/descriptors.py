"""Open descriptors of a process and their kinds: a sandboxed process holds no socket (I1).

In: a pid. Out: kinds keyed by number, read from ``/proc/<pid>/fd``. Without ``/proc``, every number of the calling
process is tried in turn.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable
from pathlib import Path

MAX_TRIED = 4096
_KINDS_BY_MODE = {
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "pipe",
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def describe_descriptor(descriptor: int) -> str:
    """Return the kind of an own descriptor: socket, pipe, file, directory, device or other. Raises OSError."""
    return _KINDS_BY_MODE.get(stat.S_IFMT(os.fstat(descriptor).st_mode), "other")


def list_descriptors(pid: int | None = None) -> dict[int, str]:
    """Return the kinds of another process's descriptors, or of this process's without ``pid``, keyed by number.

    Raises OSError if the process is gone or may not be read; another process needs ``/proc``.
    """
    folder = Path("/proc/self/fd" if pid is None else f"/proc/{pid}/fd")
    if pid is None and not folder.is_dir():
        return _try_numbers(range(MAX_TRIED))
    if pid is None:
        # The listing's own descriptor is in the list but already closed, so try each number.
        return _try_numbers(int(entry.name) for entry in folder.iterdir())
    return {
        int(entry.name): _describe_link(entry) for entry in sorted(folder.iterdir(), key=lambda entry: int(entry.name))
    }


def close_all_but(keep: Collection[int]) -> None:
    """Close every descriptor except these and the three standard ones."""
    for descriptor in list_descriptors():
        if descriptor > 2 and descriptor not in keep:
            os.close(descriptor)


def _try_numbers(numbers: Iterable[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for number in numbers:
        try:
            found[number] = describe_descriptor(number)
        except OSError:
            continue
    return found


def _describe_link(entry: Path) -> str:
    target = str(entry.readlink())
    for prefix in ("socket", "pipe", "anon_inode"):
        if target.startswith(prefix + ":"):
            return target.removeprefix("anon_inode:").strip("[]") if prefix == "anon_inode" else prefix
    return "device" if target.startswith("/dev/") else "file"
