"""The hash chain of a session's important events: gates, halts, heartbeats, drops, exits, and vetoes by count.

in: lines of the session's log, and evidence files as they are written · out: ``events.jsonl``, each line of which
holds the SHA-256 of the line before it, and the head of the chain, which is signed. Changing, removing or inserting a
line changes the hash of every later line, and so the head. Lines wait in memory until `EventChain.flush`, so that
logging never waits for a disk (I6).
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
"""Events that are always chained; warnings and errors are too, up to `MAX_PER_MESSAGE` with the same message."""
COUNTED_MESSAGES = frozenset({LogEvent.SIGNAL_VETOED})
"""Warnings about single orders: the heartbeats carry their counts, the tables are the record."""
MAX_PER_MESSAGE = 1_000
MAX_WAITING = 20_000


class ChainEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the chain."""

    n: int
    """1, 2, 3 …"""
    previous: str
    """SHA-256 of the line before, its line end included; of the session's id for the first."""
    monotonic_ns: int
    event: dict[str, Any]
    """The log line, with its wall-clock time in ``ts``."""


class ChainHead(msgspec.Struct, frozen=True):
    """Length and last hash of a chain, with its first and last entry."""

    entries: int
    head: str
    first: ChainEntry | None = None
    last: ChainEntry | None = None


class EventChain:
    """A session's chain. Any thread may call `watch`; only a thread that may wait for a disk calls `flush`."""

    def __init__(self, data_dir: DataDir, session_id: str, clock: Clock) -> None:
        """Continue the chain of an earlier step of the run; a damaged line is kept, so that verification finds it."""
        self._data_dir, self._name, self._clock = data_dir, events_name(session_id), clock
        self._lock = threading.Lock()
        self._waiting: list[bytes] = []
        self._kinds: Counter[str] = Counter()
        self._omitted = 0
        head = _stored_head(data_dir, session_id)
        self._n, self._head = head.entries, head.head

    def watch(self, line: Mapping[str, Any]) -> None:
        """Chain a log line if it matters."""
        event = find_event(line)
        is_chained = event in CHAINED_EVENTS
        if not is_chained and (line.get("level") == "info" or event in COUNTED_MESSAGES):
            return
        message = str(line.get("message"))
        with self._lock:
            self._kinds[message] += 1
            is_over_limit = not is_chained and self._kinds[message] > MAX_PER_MESSAGE
            if is_over_limit or len(self._waiting) >= MAX_WAITING:
                self._omitted += 1
                return
            self._add({name: value for name, value in line.items() if name != "session_id"})

    def flush(self) -> None:
        """Append the waiting lines to the file; raise StorageError when the disk fails."""
        with self._lock:
            if self._omitted:
                self._add({"message": "further lines of kinds that are here", "count": self._omitted})
                self._omitted = 0
            waiting, self._waiting = self._waiting, []
            if waiting:
                self._data_dir.append(self._name, b"".join(waiting))

    def _add(self, event: dict[str, Any]) -> None:
        entry = ChainEntry(self._n + 1, self._head, self._clock.monotonic_ns(), event)
        line = json.dumps(msgspec.to_builtins(entry), separators=(",", ":"), allow_nan=False).encode() + b"\n"
        self._n, self._head = entry.n, hashlib.sha256(line).hexdigest()
        self._waiting.append(line)


def events_name(session_id: str) -> str:
    """Return the name of a session's chain below the data directory."""
    return f"evidence/{session_id}/{EVENTS}"


def genesis(session_id: str) -> str:
    """Return ``previous`` of the first entry; it depends on the session, so that no chain fits another session."""
    return hashlib.sha256(session_id.encode()).hexdigest()


def walk_chain(lines: Iterable[bytes], session_id: str, visit: Callable[[ChainEntry], None] | None = None) -> ChainHead:
    """Follow a chain from its beginning; raise EvidenceError at the first line that breaks it."""
    n, head, first, entry = 0, genesis(session_id), None, None
    for n, line in enumerate(lines, 1):
        entry = parse_json(line, f"{EVENTS} line {n}", ChainEntry)
        if (entry.n, entry.previous) != (n, head):
            found = f"{entry.n} after {entry.previous[:12]}…"
            raise EvidenceError(f"{EVENTS} line {n}: expected entry {n} after {head[:12]}…, got {found}")
        if visit is not None:
            visit(entry)
        first = first or entry
        head = hashlib.sha256(line).hexdigest()
    return ChainHead(n, head, first, entry)


def _stored_head(data_dir: DataDir, session_id: str) -> ChainHead:
    """Return the head of the chain on disk; for a damaged chain, its length and the hash of its last line."""
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
