"""The chain of a session's events that matter: gates, halts, vetoes by count, heartbeats, drops, exits.

in: lines of the session's log, and evidence files as they are written · out: ``events.jsonl``, in which
each line holds the SHA-256 of the line before it, so that none can be changed, cut out or put in later
without every later line, and the head that is signed, showing it. Lines wait in memory until `flush`:
whoever logs never waits for a disk (I6).
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.errors import EvidenceError
from hybrid_platform.evidence.files import parse_json
from hybrid_platform.log.events import LogEvent, find_event
from hybrid_platform.security.paths import DataDir

EVENTS = "events.jsonl"
CHAINED_EVENTS = frozenset(
    {
        LogEvent.PREFLIGHT_STARTED,
        LogEvent.HOST_CHECKED,
        LogEvent.PREFLIGHT_PASSED,
        LogEvent.PRAGMAS_READ_BACK,
        LogEvent.PRAGMAS_VERIFIED,
        LogEvent.PRAGMA_PASSED,
        LogEvent.CHANNELS_CREATED,
        LogEvent.LIVE_VENUE_OPENED,
        LogEvent.HEARTBEAT,
        LogEvent.HOST_SNAPSHOT,
        LogEvent.LADDER_STEPPED,
        LogEvent.FINAL_METRICS,
        LogEvent.SESSION_ENDED,
        LogEvent.POSTFLIGHT_PASSED,
        LogEvent.EVIDENCE_WRITTEN,
    }
)
"""Events that are always chained; warnings and errors are too, up to `EACH` with the same message."""
COUNTED_ONLY = frozenset({LogEvent.SIGNAL_VETOED})
"""Warnings about single orders: the heartbeats carry their counts, the tables are the record."""
EACH = 1_000
MAX_WAITING = 20_000


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the chain."""

    n: int
    """1, 2, 3 …"""
    previous: str
    """SHA-256 of the line before, its line end included; of the session's id for the first."""
    monotonic_ns: int
    event: dict[str, Any]
    """The log line, its wall-clock time in ``ts``."""


class ChainHead(msgspec.Struct, frozen=True):
    """Where a chain stands."""

    entries: int
    head: str
    first: Link | None = None
    last: Link | None = None


class EventChain:
    """A session's chain; `watch` may be called from any thread, `flush` by whoever may wait for a disk."""

    def __init__(self, data_dir: DataDir, session_id: str, clock: Clock) -> None:
        """Go on where an earlier step of the run ended; a damaged line stays, and shows."""
        self._data_dir, self._name, self._clock = data_dir, events_name(session_id), clock
        self._lock = threading.Lock()
        self._waiting: list[bytes] = []
        self._kinds: Counter[str] = Counter()
        self._left_out = 0
        head = _stored_head(data_dir, session_id)
        self._n, self._head = head.entries, head.head

    def watch(self, line: Mapping[str, Any]) -> None:
        """Chain a log line if it matters."""
        event = find_event(line)
        is_chained = event in CHAINED_EVENTS
        if not is_chained and (line.get("level") == "info" or event in COUNTED_ONLY):
            return
        message = str(line.get("message"))
        with self._lock:
            self._kinds[message] += 1
            is_one_of_many = not is_chained and self._kinds[message] > EACH
            if is_one_of_many or len(self._waiting) >= MAX_WAITING:
                self._left_out += 1
                return
            self._add({name: value for name, value in line.items() if name != "session_id"})

    def flush(self) -> None:
        """Append what waits to the file; raise StorageError where the disk does not take it."""
        with self._lock:
            if self._left_out:
                self._add({"message": "further lines of kinds that are here", "count": self._left_out})
                self._left_out = 0
            waiting, self._waiting = self._waiting, []
            if waiting:
                self._data_dir.append(self._name, b"".join(waiting))

    def _add(self, event: dict[str, Any]) -> None:
        link = Link(self._n + 1, self._head, self._clock.monotonic_ns(), event)
        line = json.dumps(msgspec.to_builtins(link), separators=(",", ":"), allow_nan=False).encode() + b"\n"
        self._n, self._head = link.n, hashlib.sha256(line).hexdigest()
        self._waiting.append(line)


def events_name(session_id: str) -> str:
    """Return the name of a session's chain below the data directory."""
    return f"evidence/{session_id}/{EVENTS}"


def genesis(session_id: str) -> str:
    """Return what the first link's ``previous`` is: no chain fits another session."""
    return hashlib.sha256(session_id.encode()).hexdigest()


def walk_chain(lines: Iterable[bytes], session_id: str, each: Callable[[Link], None] = lambda link: None) -> ChainHead:
    """Follow a chain from its beginning; raise EvidenceError at the first line that does not hold."""
    n, head, first, link = 0, genesis(session_id), None, None
    for n, line in enumerate(lines, 1):
        link = parse_json(line, f"{EVENTS} line {n}", Link)
        if (link.n, link.previous) != (n, head):
            was = f"{link.n} after {link.previous[:12]}…"
            raise EvidenceError(f"{EVENTS} line {n}: expected link {n} after {head[:12]}…, got {was}")
        each(link)
        first = first or link
        head = hashlib.sha256(line).hexdigest()
    return ChainHead(n, head, first, link)


def _stored_head(data_dir: DataDir, session_id: str) -> ChainHead:
    """Return where a chain on disk stands; of a damaged one, its length and its last line as it is."""
    try:
        descriptor = data_dir.open(events_name(session_id), os.O_RDONLY)
    except FileNotFoundError:
        return ChainHead(0, genesis(session_id))
    with os.fdopen(descriptor, "rb") as lines:
        try:
            return walk_chain(lines, session_id)
        except EvidenceError:
            lines.seek(0)
            count, last = max(enumerate(lines, 1), default=(0, b""))
            return ChainHead(count, hashlib.sha256(last).hexdigest())
