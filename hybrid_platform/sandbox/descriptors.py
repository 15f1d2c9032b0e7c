"""Which descriptors a process holds and what they are: a guarded one holds no socket (I1).

in: a pid · out: kinds by number, read from ``/proc/<pid>/fd``, or for the calling process on other
systems by asking for each number.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable
from pathlib import Path

HIGHEST_ASKED = 4096
_KINDS = {
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "pipe",
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def describe_descriptor(descriptor: int) -> str:
    """Return what one of our own descriptors is: socket, pipe, file, directory, device or other. Raises OSError."""
    return _KINDS.get(stat.S_IFMT(os.fstat(descriptor).st_mode), "other")


def list_descriptors(pid: int | None = None) -> dict[int, str]:
    """Return number → kind of another process's descriptors, or without ``pid`` of our own.

    Raises OSError where the process is gone or may not be read; another's needs ``/proc``.
    """
    folder = Path("/proc/self/fd" if pid is None else f"/proc/{pid}/fd")
    if pid is None and not folder.is_dir():
        return _by_asking(range(HIGHEST_ASKED))
    if pid is None:
        # The listing's own descriptor is in the list and closed by now: ask for each.
        return _by_asking(int(entry.name) for entry in folder.iterdir())
    return {
        int(entry.name): _kind_of_link(entry) for entry in sorted(folder.iterdir(), key=lambda entry: int(entry.name))
    }


def close_all_but(keep: Collection[int]) -> None:
    """Close every descriptor but these and the standard three."""
    for descriptor in list_descriptors():
        if descriptor > 2 and descriptor not in keep:
            os.close(descriptor)


def _by_asking(numbers: Iterable[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for number in numbers:
        try:
            found[number] = describe_descriptor(number)
        except OSError:
            continue
    return found


def _kind_of_link(entry: Path) -> str:
    target = str(entry.readlink())
    for prefix in ("socket", "pipe", "anon_inode"):
        if target.startswith(prefix + ":"):
            return target.removeprefix("anon_inode:").strip("[]") if prefix == "anon_inode" else prefix
    return "device" if target.startswith("/dev/") else "file"
