"""Counts what strategy and execution try, by Python's audit events, and who tried it (I1).

in: audit events of guarded threads · out: counts by event and stage, for evidence. Under the kernel's
filter it only counts; where it is the last line it refuses as well. Code that reaches machine code can
go round it: it attributes, the kernel denies. One hook a process, for CPython never removes one.
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
"""Audit event → what it would be. ``ctypes.dlsym`` counts for the names of denied calls only."""
_SYMBOLS = frozenset(rule.name for rule in RULES) | {"syscall", "system", "popen", "getaddrinfo", "posix_spawn"}
_PROBE = "hybrid_platform.sandbox.probe"
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_. -]")
MAX_ENTRIES = 1_000
"""Distinct (event, stage) pairs that are kept apart; what comes after is counted under ``others``."""


def sanitize_name(text: str) -> str:
    """Return a name from a guarded process as it may be shown: 32 harmless characters."""
    return _NOT_PLAIN.sub("?", text[:32])


def validate_counts(counts: Sequence[Denied]) -> tuple[Denied, ...]:
    """Return what a guarded process says its hook counted, as far as a hook could have said it."""
    return tuple(
        Denied("audit-hook", _EVENTS[entry.name], entry.name, sanitize_name(entry.stage), entry.count)
        for entry in counts[: MAX_ENTRIES + len(_EVENTS)]
        if entry.name in _EVENTS and entry.count > 0
    )


class AuditHook:
    """The process's one hook; off until a thread is registered or ``every_thread`` is set.

    Its counts are written by any thread and read by the owner: one lock guards them, and is taken
    only when something is counted.
    """

    def __init__(self, *, deny: bool, every_thread: bool) -> None:
        self.deny = deny
        """Raise PermissionError for a guarded thread's attempts; False: the kernel does."""
        self._every_thread = every_thread
        self._stages: dict[int, str] = {}
        self._exempt: set[int] = set()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._probes = 0
        self._lock = threading.Lock()
        self._installed = False

    def install(self) -> None:
        """Add the hook to the interpreter, once."""
        if not self._installed:
            self._installed = True
            sys.addaudithook(self._on_event)

    def register(self, stage: str) -> None:
        """Name the calling thread: what it tries from now on is counted under ``stage``."""
        self._stages[threading.get_ident()] = stage

    def unregister(self) -> None:
        """Forget the calling thread; its number may be another thread's next."""
        self._stages.pop(threading.get_ident(), None)

    @contextlib.contextmanager
    def exempt(self) -> Iterator[None]:
        """Neither count nor refuse what the calling thread does meanwhile: the self-test's own attempts."""
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
        # Called for every audit event of the process: leave early.
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
