"""The session's structured log (SPEC 10): JSON objects, one a line, to the run's output and to a file.

in: a level, a fixed message and fields, from any thread · out: redacted, printable lines. A caller
never waits for a disk or a terminal (I6): each place that lines go to has its own bounded queue
and thread; what a full queue could not take is counted and said where it is missing. The file is
complete once `close` returned, or `LogStats` says what is missing.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TextIO

from hybrid_platform.domain.clocks import NS_PER_S, Clock, iso_utc
from hybrid_platform.log.events import LogEvent, find_event
from hybrid_platform.log.sanitize import Plain, plain_fields
from hybrid_platform.security.paths import DataDir
from hybrid_platform.security.redaction import safe

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
Level = Literal["debug", "info", "warning", "error"]
QUEUE_LINES = 20_000
FULL_LINES = 100
LINES_A_SECOND = 10
_MAX_MESSAGE = 1_000
_MAX_LIMITED = 1_000
"""Different messages that are counted apart; those after them share one count."""

Line = dict[str, Plain]
Render = Callable[[Line], bytes]


def as_json(line: Line) -> bytes:
    """Return a line as JSON, in ASCII: no terminal or locale can trip over it."""
    return json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def as_text(line: Line) -> bytes:
    """Return a line as a person reads it on a terminal: time, level, message, fields."""
    time_of_day = str(line["ts"])[11:23]
    hidden = {"ts", "level", "session_id", "message"} | (set() if find_event(line) is None else {"event"})
    fields = (
        f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in line.items()
        if name not in hidden
    )
    return " ".join([time_of_day, f"{str(line['level']).upper():7}", str(line["message"]), *fields]).encode() + b"\n"


class LogStats(NamedTuple):
    """What became of the lines."""

    written: int
    """Lines in the file."""
    file_dropped: int
    """Lines that the file's queue had no room for, or that were still waiting when `close` gave up."""
    stream_dropped: int
    """Lines that the run's output did not take in time, or refused."""
    errors: int
    """Writes to the file that failed: those lines are lost."""
    last_error: str = ""


class RateLimit:
    """At most so many lines of a kind: the first 100 in full, then 10 in any second (SPEC 10).

    Safe to call from any thread. Kinds are few: beyond 1,000 they share one count.
    """

    def __init__(self, clock: Clock, full: int = FULL_LINES, a_second: int = LINES_A_SECOND) -> None:
        self._clock, self._full, self._a_second = clock, full, a_second
        self._lock = threading.Lock()
        self._kinds: dict[str, _Kind] = {}

    def admit(self, kind: str) -> dict[str, int] | None:
        """Return the fields to add to this line, or None where it is to be left out.

        Beyond the first 100 the field is ``suppressed``: how many were left out since the last.
        """
        now = self._clock.monotonic_ns()
        with self._lock:
            counted = self._kinds.get(kind)
            if counted is None:
                if len(self._kinds) >= _MAX_LIMITED:
                    kind = "(others)"
                counted = self._kinds.setdefault(kind, _Kind(deque(maxlen=self._a_second)))
            crowded = len(counted.latest) == self._a_second and now - counted.latest[0] < NS_PER_S
            if crowded and counted.admitted >= self._full:
                counted.suppressed += 1
                return None
            suppressed, counted.suppressed = counted.suppressed, 0
            counted.admitted += 1
            counted.latest.append(now)
            return {"suppressed": suppressed} if counted.admitted > self._full else {}

    def left_out(self) -> Mapping[str, int]:
        """Return, and forget, how many of each kind were left out since its last line."""
        with self._lock:
            left = {kind: counted.suppressed for kind, counted in self._kinds.items() if counted.suppressed}
            for counted in self._kinds.values():
                counted.suppressed = 0
            return left


class _Kind:
    """One kind's count; ``latest`` holds when the last ones were admitted, monotonic nanoseconds."""

    __slots__ = ("admitted", "latest", "suppressed")

    def __init__(self, latest: deque[int]) -> None:
        self.latest = latest
        self.admitted = self.suppressed = 0


class SessionLog:
    """The log of one session; satisfies `hybrid_platform.domain.log.Log`, and never raises.

    ``stream`` is the run's output (None: none); ``data_dir`` is where ``logs/<session_id>.jsonl``
    goes (None: no file). Raises UnsafePathError or StorageError where that file cannot be opened.
    """

    def __init__(
        self,
        session_id: str,
        clock: Clock,
        *,
        stream: TextIO | None = None,
        data_dir: DataDir | None = None,
        level: Level = "info",
        render: Render = as_json,
        queue_lines: int = QUEUE_LINES,
        watch: Callable[[Line], None] | None = None,
    ) -> None:
        """``watch`` is shown every line, in order, under the log's lock: it must be quick and never raise."""
        self.session_id = session_id
        self._watch = watch
        self.limit = RateLimit(clock)
        self._clock = clock
        self._threshold = LEVELS[level]
        self._lock = threading.Lock()
        self._file = self._stream = None
        if data_dir is not None:
            name = f"logs/{session_id}.jsonl"
            descriptor = data_dir.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            self._file = _Outlet("log-file", as_json, _to_file(descriptor), lambda: os.close(descriptor), queue_lines)
        if stream is not None:
            self._stream = _Outlet("log-stream", render, _to_stream(stream), _nothing, queue_lines)

    def debug(self, message: str, **fields: Any) -> None:
        """Say what only a developer wants to know."""
        self.log("debug", message, fields)

    def info(self, message: str, **fields: Any) -> None:
        """Say what happened."""
        self.log("info", message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Say what an operator should look at."""
        self.log("warning", message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """Say what failed."""
        self.log("error", message, fields)

    def limited(self, level: Level, message: str, **fields: Any) -> None:
        """Say what may happen very often: the first 100 in full, then 10 a second with ``suppressed``."""
        admitted = self.limit.admit(message)
        if admitted is not None:
            self.log(level, message, fields | admitted)

    def log(self, level: Level, message: str, fields: Mapping[str, object]) -> None:
        """Write one line; a field that is called like a fixed key gets ``_`` appended to its name."""
        if LEVELS[level] < self._threshold:
            return
        shown = plain_fields(fields)
        event = {"event": message.event} if isinstance(message, LogEvent) else {}
        said = message.value if isinstance(message, LogEvent) else safe(message, _MAX_MESSAGE)
        with self._lock:  # so that lines lie in the order of their times
            line: Line = {
                "ts": iso_utc(self._clock.wall_ns()),
                "level": level,
                "session_id": self.session_id,
                "message": said,
                **event,
            }
            for name, value in shown.items():
                while name in line:
                    name += "_"  # noqa: PLW2901
                line[name] = value
            if self._watch is not None:
                self._watch(line)
            for outlet in (self._file, self._stream):
                if outlet is not None:
                    outlet.put(line)

    def close(self, timeout_s: float = 10.0) -> LogStats:
        """Say what was left out, write what waits, and return what became of all lines; safe to call twice.

        Waits up to ``timeout_s`` for the disk, and then for at most a second for the terminal.
        """
        for message, suppressed in self.limit.left_out().items():
            self.log("info", "log lines left out", {"of": message, "suppressed": suppressed})
        file = self._file.close(timeout_s) if self._file else _Counts()
        stream = self._stream.close(min(timeout_s, 1.0)) if self._stream else _Counts()
        return LogStats(
            written=file.written,
            file_dropped=file.dropped + file.waiting,
            stream_dropped=stream.dropped + stream.waiting + stream.errors,
            errors=file.errors,
            last_error=file.last_error,
        )

    def __enter__(self) -> SessionLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Counts:
    """What became of an outlet's lines."""

    def __init__(self) -> None:
        self.written = self.dropped = self.waiting = self.errors = 0
        self.last_error = ""


class _Outlet:
    """One place that lines go to: a bounded queue, and a thread that renders and writes.

    The thread is a daemon: a terminal that never reads again must not keep the process alive.
    """

    def __init__(
        self, name: str, render: Render, write: Callable[[bytes], None], end: Callable[[], None], capacity: int
    ) -> None:
        self._render, self._write, self._end, self._capacity = render, write, end, capacity
        self._queue: deque[Line] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._unsaid = 0
        """Lines dropped that no line has told of yet; the notice bears the time of the last of them."""
        self._last_dropped: Line = {}
        self._counts = _Counts()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, line: Line) -> None:
        """Queue a line, or count it as dropped; never wait."""
        with self._changed:
            if self._closing or len(self._queue) >= self._capacity:
                self._counts.dropped += 1
                self._unsaid += 1
                self._last_dropped = line
                return
            self._tell_of_dropped()
            self._queue.append(line)
            self._changed.notify()

    def close(self, timeout_s: float) -> _Counts:
        """Empty the queue, for so long at most, and return what became of the lines."""
        with self._changed:
            self._tell_of_dropped()
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        with self._changed:
            self._counts.waiting = len(self._queue)
            return self._counts

    def _tell_of_dropped(self) -> None:
        if self._unsaid and not self._closing:
            fixed = {key: self._last_dropped[key] for key in ("ts", "level", "session_id", "message")}
            self._queue.append({**fixed, "level": "warning", "message": "log lines dropped", "count": self._unsaid})
            self._unsaid = 0

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closing:
                    self._changed.wait()
                if not self._queue:
                    break
                line = self._queue[0]
            try:
                self._write(self._render(line))
            except Exception as error:  # noqa: BLE001, RUF100  # disk full, broken pipe: counted; the next line may pass
                self._counts.errors += 1
                self._counts.last_error = safe(f"{type(error).__name__}: {error}")
            else:
                self._counts.written += 1
            with self._changed:
                self._queue.popleft()
        self._end()


def _to_file(descriptor: int) -> Callable[[bytes], None]:
    def write(line: bytes) -> None:
        written = os.write(descriptor, line)  # one write a line: lines of two processes do not mix
        if written != len(line):
            os.write(descriptor, b"\n")
            raise OSError(f"expected {len(line)} bytes to be written, got {written}")

    return write


def _to_stream(stream: TextIO) -> Callable[[bytes], None]:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        descriptor = stream.fileno()
    except (OSError, AttributeError, ValueError):
        descriptor = None

    def write(line: bytes) -> None:
        shown = line.decode().encode(encoding, "backslashreplace")
        if descriptor is None:
            stream.write(shown.decode(encoding))
            stream.flush()
        else:
            # Not through the stream: its lock, held by a thread that blocks, would block the interpreter's exit too.
            while shown:
                shown = shown[os.write(descriptor, shown) :]

    return write


def _nothing() -> None:
    """End a stream that somebody else owns."""
