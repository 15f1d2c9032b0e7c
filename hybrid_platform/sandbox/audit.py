"""Counts of attempts by strategy and execution, from Python's audit events (I1).

In: audit events of sandboxed threads. Out: counts by event and stage, for evidence. With the kernel's filter the hook
only counts; without it, it also refuses. Machine code can bypass it: the hook attributes, the kernel denies. There is
one hook per process, because CPython never removes one.
"""

from __future__ import annotations

import contextlib
import errno
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence

from hybrid_platform.domain.isolation import Denied, Kind
from hybrid_platform.sandbox.syscalls import RULES

_EVENTS = {
    "socket.__new__": Kind.SOCKET,
    "socket.connect": Kind.SOCKET,
    "socket.bind": Kind.SOCKET,
    "socket.sendto": Kind.SOCKET,
    "socket.sendmsg": Kind.SOCKET,
    "socket.getaddrinfo": Kind.DNS,
    "socket.gethostbyname": Kind.DNS,
    "socket.gethostbyaddr": Kind.DNS,
    "socket.getnameinfo": Kind.DNS,
    "subprocess.Popen": Kind.PROCESS,
    "os.exec": Kind.PROCESS,
    "os.fork": Kind.PROCESS,
    "os.forkpty": Kind.PROCESS,
    "os.posix_spawn": Kind.PROCESS,
    "os.spawn": Kind.PROCESS,
    "os.startfile": Kind.PROCESS,
    "os.system": Kind.PROCESS,
    "pty.spawn": Kind.PROCESS,
    "os.kill": Kind.SIGNAL,
    "os.chmod": Kind.METADATA,
    "os.chown": Kind.METADATA,
    "os.utime": Kind.METADATA,
    "os.truncate": Kind.METADATA,
    "os.setxattr": Kind.METADATA,
    "ctypes.dlsym": Kind.MACHINE_CODE,
}
"""Kind of each audit event. ``ctypes.dlsym`` counts only for the names of denied calls."""
_SYMBOLS = frozenset(rule.name for rule in RULES) | {"syscall", "system", "popen", "getaddrinfo", "posix_spawn"}
_PROBE = "hybrid_platform.sandbox.probe"
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_. -]")
MAX_ENTRIES = 1_000
"""Number of (event, stage) pairs that are counted apart; further ones are counted under ``others``."""


def sanitize_name(text: str) -> str:
    """Return a name from a sandboxed process as at most 32 harmless characters."""
    return _NOT_PLAIN.sub("?", text[:32])


def validate_counts(counts: Sequence[Denied]) -> tuple[Denied, ...]:
    """Return the counts a sandboxed process reported, without those that its hook cannot have made."""
    return tuple(
        Denied("audit-hook", _EVENTS[entry.name], entry.name, sanitize_name(entry.stage), entry.count)
        for entry in counts[: MAX_ENTRIES + len(_EVENTS)]
        if entry.name in _EVENTS and entry.count > 0
    )


class AuditHook:
    """The process's audit hook, inactive until a thread is registered or ``every_thread`` is set.

    Any thread writes the counts and the owner reads them. A lock protects them and is taken only to count.
    """

    def __init__(self, *, deny: bool, every_thread: bool) -> None:
        self.deny = deny
        """Whether to raise PermissionError for a sandboxed thread's attempts; if not, the kernel denies them."""
        self._every_thread = every_thread
        self._stages: dict[int, str] = {}
        self._exempt: set[int] = set()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._probes = 0
        self._lock = threading.Lock()
        self._installed = False

    def install(self) -> None:
        """Add the hook to the interpreter (idempotent)."""
        if not self._installed:
            self._installed = True
            sys.addaudithook(self._on_event)

    def register(self, stage: str) -> None:
        """Count the calling thread's attempts under ``stage`` from now on."""
        self._stages[threading.get_ident()] = stage

    def unregister(self) -> None:
        """Forget the calling thread, because the next thread may get its number."""
        self._stages.pop(threading.get_ident(), None)

    @contextlib.contextmanager
    def exempt(self) -> Iterator[None]:
        """Neither count nor refuse the calling thread's attempts inside the block: the self-test's own attempts."""
        ident = threading.get_ident()
        self._exempt.add(ident)
        try:
            yield
        finally:
            self._exempt.discard(ident)

    def is_alive(self) -> bool:
        """Raise an audit event and return whether it arrived."""
        before = self._probes
        sys.audit(_PROBE)
        return self._probes > before

    def counts(self) -> tuple[Denied, ...]:
        """Return the attempts so far, by kind, event and stage."""
        with self._lock:
            counted = sorted(self._counts.items())
        return tuple(Denied("audit-hook", _EVENTS[event], event, stage, count) for (event, stage), count in counted)

    def _on_event(self, event: str, arguments: tuple[object, ...]) -> None:
        # Called for every audit event of the process, so return early.
        kind = _EVENTS.get(event)
        if kind is None:
            if event == _PROBE:
                self._probes += 1
            return
        ident = threading.get_ident()
        stage = self._stages.get(ident)
        if (stage is None and not self._every_thread) or ident in self._exempt:
            return
        if event == "ctypes.dlsym" and str(arguments[-1]) not in _SYMBOLS:
            return
        key = event, stage or "another thread"
        with self._lock:
            self._counts[key if key in self._counts or len(self._counts) < MAX_ENTRIES else (event, "others")] += 1
        if self.deny:
            raise PermissionError(errno.EPERM, f"a sandboxed strategy may not do this: {event}")
