"""The kernel's status of every thread of a process: the sandbox is read back, not assumed (I1).

In: a pid. Out: a `ThreadStatus` per thread, from ``/proc/<pid>/task/*/status``, and a whole `Reading`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hybrid_platform.domain.isolation import Reading, ThreadStatus
from hybrid_platform.sandbox.descriptors import list_descriptors


def read_threads(pid: int, only: Iterable[int] | None = None) -> tuple[ThreadStatus, ...]:
    """Return the status of every thread of a process, or of those in ``only`` that still live, in order of their ids.

    Raises OSError if the process is gone or there is no ``/proc``.
    """
    folder = Path(f"/proc/{pid}/task")
    selected = None if only is None else set(only)
    found = []
    for tid in sorted(int(entry.name) for entry in folder.iterdir()):
        if selected is None or tid in selected:
            try:
                text = (folder / str(tid) / "status").read_text(encoding="utf-8", errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended between the listing and the reading
            found.append(_parse(tid, text))
    return tuple(found)


def read_process(pid: int) -> Reading:
    """Read a process from outside; a value that the host does not report is None."""
    try:
        threads = read_threads(pid)
    except OSError:
        threads = None
    try:
        descriptors = list_descriptors(pid)
    except OSError:
        descriptors = None
    return Reading(
        threads=threads,
        sockets=None if descriptors is None else sum(kind == "socket" for kind in descriptors.values()),
        descriptors=None if descriptors is None else tuple(f"{number} {kind}" for number, kind in descriptors.items()),
        own_network=_own_network(pid),
    )


def _own_network(pid: int) -> bool | None:
    try:
        return Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    except OSError:
        return None


def _parse(tid: int, text: str) -> ThreadStatus:
    fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    return ThreadStatus(
        tid=tid,
        name=fields.get("Name", ""),
        no_new_privs=fields.get("NoNewPrivs") == "1",
        seccomp=int(fields.get("Seccomp", "0")),
        filters=int(fields.get("Seccomp_filters", "0")),
        capabilities=fields.get("CapEff", ""),
    )
