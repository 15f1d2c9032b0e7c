"""Watcher outside the sandboxed process: the kernel reports every denied call to it, and it answers EPERM (I1).

In: the listener of a filter that notifies. Out: exact counts by rule and thread, which the sandboxed process cannot
forge. If the watcher ends, the kernel itself denies with ENOSYS and lets nothing through. It needs Linux 5.7 and the
right to trace the child, which a parent usually has.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import threading
from collections import Counter
from pathlib import Path

from hybrid_platform.domain.isolation import Denied, Kind
from hybrid_platform.sandbox import _linux
from hybrid_platform.sandbox.audit import sanitize_name
from hybrid_platform.sandbox.bpf import Filter
from hybrid_platform.sandbox.syscalls import Rule

_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, tid, flags; then number, architecture, address, arguments
_RESPONSE = struct.Struct("=QqiI")  # id, value, error, flags
_RECEIVE, _SEND = 0xC050_2100, 0xC018_2101
_POLL_MS = 200
MAX_ENTRIES = 1_000
"""Number of (rule, stage) pairs that are counted apart; further ones are counted under ``others``."""


def take_descriptor(pid: int, descriptor: int) -> int:
    """Return a copy of another process's descriptor; raise OSError if that is not allowed."""
    handle = os.pidfd_open(pid)
    try:
        return _linux.syscall(_linux.SYS_PIDFD_GETFD, handle, descriptor, 0)
    finally:
        os.close(handle)


def can_watch(pid: int) -> bool:
    """Return whether this process may copy a child's descriptor, tried with its standard input."""
    try:
        os.close(take_descriptor(pid, 0))
    except (OSError, AttributeError):
        return False
    return True


class Watcher:
    """The thread that answers the kernel for the sandboxed process ``pid``; owns ``listener`` and the counts."""

    def __init__(self, listener: int, filter_: Filter, pid: int) -> None:
        self._listener = listener
        self._filter = filter_
        self._pid = pid
        self._counts: Counter[tuple[Kind, str, str]] = Counter()
        self._counting = True
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox-watcher", daemon=True)

    def start(self) -> None:
        """Start answering."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering: denied calls fail with ENOSYS from now on."""
        self._stop.set()
        self._thread.join()

    def reset_counts(self) -> None:
        """Forget the counts so far, which are the first self-test's."""
        with self._lock:
            self._counts.clear()

    def stop_counting(self) -> None:
        """Stop counting and keep answering: the last self-test's attempts follow."""
        self._counting = False

    def counts(self) -> tuple[Denied, ...]:
        """Return the denied calls by rule and stage; the stage is the name that the thread gave itself."""
        with self._lock:
            counted = sorted(self._counts.items())
        return tuple(Denied("kernel", kind, name, stage, count) for (kind, name, stage), count in counted)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        try:
            while not self._stop.is_set():
                events = poll.poll(_POLL_MS)
                if events and events[0][1] & select.POLLIN:
                    self._answer()
                elif events:
                    return  # the last thread under the filter has ended
        finally:
            os.close(self._listener)

    def _answer(self) -> None:
        buffer = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(self._listener, _RECEIVE, buffer)
            identity, tid, _, number, architecture, _, *arguments = _NOTIFICATION.unpack(buffer)
            if self._counting:
                self._count(tid, self._filter.find_rule(architecture, number & 0xFFFF_FFFF, arguments))
            fcntl.ioctl(self._listener, _SEND, _RESPONSE.pack(identity, 0, -errno.EPERM, 0))
        except OSError as error:
            # The calling thread was killed meanwhile, or was interrupted and will repeat the call.
            if error.errno not in {errno.ENOENT, errno.EINTR, errno.EINPROGRESS}:
                raise

    def _count(self, tid: int, rule: Rule | None) -> None:
        # The kernel reports only calls that match a rule, so there should be one.
        key = (rule.kind, rule.name, self._read_stage(tid)) if rule else (Kind.FOREIGN, "unknown", "")
        with self._lock:
            known = key in self._counts or len(self._counts) < MAX_ENTRIES
            self._counts[key if known else (key[0], key[1], "others")] += 1

    def _read_stage(self, tid: int) -> str:
        try:
            name = Path(f"/proc/{self._pid}/task/{tid}/comm").read_text(encoding="ascii", errors="replace")
        except OSError:
            return "gone"
        return sanitize_name(name.strip())
