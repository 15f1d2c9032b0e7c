"""The structured log of a session: JSON objects, one per line, to the run's output and to a file.

In: a level, a fixed message and fields, from any thread. Out: redacted, printable lines in the order of their times.
A caller never waits for a disk or a terminal (I6): each sink has its own bounded queue and its own thread. Lines that
do not fit into a full queue are counted, and a line in their place reports the count. After `SessionLog.close` the
file is complete, or `LogStats` says how many lines are missing.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TextIO

from hybrid_platform.domain.clocks import NS_PER_S, Clock, iso_utc
from hybrid_platform.log.events import LogEvent, find_event
from hybrid_platform.log.sanitize import JsonSafe, sanitize_fields
from hybrid_platform.security.paths import DataDir
from hybrid_platform.security.redaction import sanitize_text

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
Level = Literal["debug", "info", "warning", "error"]
QUEUE_LINES = 20_000
FULL_LINES = 100
LINES_PER_SECOND = 10
_MAX_MESSAGE = 1_000
_MAX_KINDS = 1_000
"""Number of messages that are limited one by one; any further ones share one count."""
_FIXED_KEYS = ("ts", "level", "session_id", "message")

Line = dict[str, JsonSafe]
Render = Callable[[Line], bytes]


def log_name(session_id: str) -> str:
    """Return the name of a session's log below the data directory."""
    return f"logs/{session_id}.jsonl"


def render_json(line: Line) -> bytes:
    """Return a line as JSON in ASCII, which every terminal and locale can show."""
    return json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def render_text(line: Line) -> bytes:
    """Return a line for a person at a terminal: time, level, message and fields."""
    time_of_day = str(line["ts"])[11:23]
    hidden = _FIXED_KEYS if find_event(line) is None else (*_FIXED_KEYS, "event")
    fields = (
        f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in line.items()
        if name not in hidden
    )
    return " ".join([time_of_day, f"{str(line['level']).upper():7}", str(line["message"]), *fields]).encode() + b"\n"


class LogStats(NamedTuple):
    """Numbers of lines that were written and lost."""

    written: int
    """Lines in the file."""
    file_dropped: int
    """Lines that the file's queue had no room for, or that were still waiting when `close` timed out."""
    stream_dropped: int
    """Lines that the run's output did not take in time, or refused."""
    errors: int
    """Failed writes to the file; those lines are lost."""
    last_error: str = ""


class RateLimit:
    """Limit per kind of line: the first 100 in full, then at most 10 in any second.

    Any thread may call it. Beyond 1,000 kinds, further ones share one count.
    """

    def __init__(self, clock: Clock, full_lines: int = FULL_LINES, lines_per_second: int = LINES_PER_SECOND) -> None:
        self._clock, self._full_lines, self._lines_per_second = clock, full_lines, lines_per_second
        self._lock = threading.Lock()
        self._kinds: dict[str, _KindCount] = {}

    def admit(self, kind: str) -> dict[str, int] | None:
        """Return the fields to add to this line, or None if the line must be left out.

        Beyond the first 100 lines the field is ``suppressed``: the number of lines left out since the last one.
        """
        now_ns = self._clock.monotonic_ns()
        with self._lock:
            count = self._kinds.get(kind)
            if count is None:
                if len(self._kinds) >= _MAX_KINDS:
                    kind = "(others)"
                count = self._kinds.setdefault(kind, _KindCount(deque(maxlen=self._lines_per_second)))
            is_crowded = len(count.latest_ns) == self._lines_per_second and now_ns - count.latest_ns[0] < NS_PER_S
            if is_crowded and count.admitted >= self._full_lines:
                count.suppressed += 1
                return None
            suppressed, count.suppressed = count.suppressed, 0
            count.admitted += 1
            count.latest_ns.append(now_ns)
            return {"suppressed": suppressed} if count.admitted > self._full_lines else {}

    def take_suppressed(self) -> Mapping[str, int]:
        """Return and reset the numbers of lines left out since the last line of each kind."""
        with self._lock:
            suppressed = {kind: count.suppressed for kind, count in self._kinds.items() if count.suppressed}
            for count in self._kinds.values():
                count.suppressed = 0
            return suppressed


@dataclass(slots=True)
class _KindCount:
    """Lines of one kind."""

    latest_ns: deque[int]
    """Monotonic times of the latest admitted lines."""
    admitted: int = 0
    suppressed: int = 0


class SessionLog:
    """The log of one session; implements `hybrid_platform.domain.log.Log` and never raises.

    ``stream`` is the run's output and ``data_dir`` holds the file ``logs/<session_id>.jsonl``; None leaves that sink
    out. ``on_line`` receives every line in order, under the log's lock, so it must be quick and must not raise.
    Raises UnsafePathError or StorageError if the file cannot be opened.
    """

    def __init__(
        self,
        session_id: str,
        clock: Clock,
        *,
        stream: TextIO | None = None,
        data_dir: DataDir | None = None,
        level: Level = "info",
        render: Render = render_json,
        queue_lines: int = QUEUE_LINES,
        on_line: Callable[[Line], None] | None = None,
    ) -> None:
        self.session_id = session_id
        self.limit = RateLimit(clock)
        self._on_line = on_line
        self._clock = clock
        self._threshold = LEVELS[level]
        self._lock = threading.Lock()
        self._file = self._stream = None
        if data_dir is not None:
            descriptor = data_dir.open(log_name(session_id), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            self._file = _Sink(
                "log-file", render_json, _file_writer(descriptor), lambda: os.close(descriptor), queue_lines
            )
        if stream is not None:
            self._stream = _Sink("log-stream", render, _stream_writer(stream), _leave_open, queue_lines)

    def debug(self, message: str, **fields: Any) -> None:
        """Log a detail for developers."""
        self.log("debug", message, fields)

    def info(self, message: str, **fields: Any) -> None:
        """Log an event of normal operation."""
        self.log("info", message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Log an event that needs an operator's attention."""
        self.log("warning", message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """Log a failure."""
        self.log("error", message, fields)

    def limited(self, level: Level, message: str, **fields: Any) -> None:
        """Log a frequent event: the first 100 in full, then 10 per second with the field ``suppressed``."""
        admitted = self.limit.admit(message)
        if admitted is not None:
            self.log(level, message, fields | admitted)

    def log(self, level: Level, message: str, fields: Mapping[str, object]) -> None:
        """Write one line. A field with the name of a fixed key gets ``_`` appended to its name."""
        if LEVELS[level] < self._threshold:
            return
        safe_fields = sanitize_fields(fields)
        text = message.value if isinstance(message, LogEvent) else sanitize_text(message, _MAX_MESSAGE)
        event = {"event": message.event} if isinstance(message, LogEvent) else {}
        with self._lock:  # keeps the lines in the order of their times
            line: Line = {
                "ts": iso_utc(self._clock.wall_ns()),
                "level": level,
                "session_id": self.session_id,
                "message": text,
                **event,
            }
            for name, value in safe_fields.items():
                line[_find_free_key(name, line)] = value
            if event:  # last, so that a search for the message and its first field still finds the line
                line["event"] = line.pop("event")
            if self._on_line is not None:
                self._on_line(line)
            for sink in (self._file, self._stream):
                if sink is not None:
                    sink.put(line)

    def close(self, timeout_s: float = 10.0) -> LogStats:
        """Log the numbers of suppressed lines, write what is waiting, and return the final counts (idempotent).

        Waits up to ``timeout_s`` for the disk, and then at most one second for the terminal.
        """
        for message, suppressed in self.limit.take_suppressed().items():
            self.log("info", "log lines left out", {"of": message, "suppressed": suppressed})
        file = self._file.close(timeout_s) if self._file else _SinkCounts()
        stream = self._stream.close(min(timeout_s, 1.0)) if self._stream else _SinkCounts()
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


@dataclass(slots=True)
class _SinkCounts:
    """Numbers of a sink's lines."""

    written: int = 0
    dropped: int = 0
    waiting: int = 0
    errors: int = 0
    last_error: str = ""


class _Sink:
    """A destination of lines: a bounded queue, and a thread that renders and writes them.

    The first line starts the thread. It is a daemon, because a terminal that is never read again must not keep the
    process alive.
    """

    def __init__(
        self, name: str, render: Render, write: Callable[[bytes], None], finish: Callable[[], None], capacity: int
    ) -> None:
        self._render, self._write, self._finish, self._capacity = render, write, finish, capacity
        self._queue: deque[Line] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._unreported = 0
        """Number of dropped lines that no line has reported yet."""
        self._last_dropped: Line = {}
        """The last dropped line; the report carries its time."""
        self._counts = _SinkCounts()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def put(self, line: Line) -> None:
        """Queue a line, or count it as dropped; never wait."""
        with self._changed:
            if self._closing or len(self._queue) >= self._capacity:
                self._counts.dropped += 1
                self._unreported += 1
                self._last_dropped = line
                return
            self._report_dropped()
            self._queue.append(line)
            self._start()
            self._changed.notify()

    def close(self, timeout_s: float) -> _SinkCounts:
        """Empty the queue within ``timeout_s`` and return the counts."""
        with self._changed:
            is_first_call = not self._closing
            self._report_dropped()
            self._closing = True
            if self._queue:
                self._start()
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        elif is_first_call:
            self._finish()
        with self._changed:
            self._counts.waiting = len(self._queue)
            return self._counts

    def _start(self) -> None:
        """Start the thread. If the system refuses one, the next line tries again."""
        if self._thread.ident is None:
            with suppress(RuntimeError):
                self._thread.start()

    def _report_dropped(self) -> None:
        if self._unreported and not self._closing:
            fixed = {key: self._last_dropped[key] for key in _FIXED_KEYS}
            self._queue.append({**fixed, "level": "warning", "message": "log lines dropped", "count": self._unreported})
            self._unreported = 0

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
            except Exception as error:  # noqa: BLE001, RUF100  # disk full, broken pipe: the next line may succeed
                self._counts.errors += 1
                self._counts.last_error = sanitize_text(f"{type(error).__name__}: {error}")
            else:
                self._counts.written += 1
            with self._changed:
                self._queue.popleft()
        self._finish()


def _find_free_key(name: str, line: Line) -> str:
    """Return the name with as many ``_`` appended as the line needs."""
    while name in line:
        name += "_"
    return name


def _file_writer(descriptor: int) -> Callable[[bytes], None]:
    def write(line: bytes) -> None:
        written = os.write(descriptor, line)  # one write per line, so that lines of two processes do not mix
        if written != len(line):
            os.write(descriptor, b"\n")
            raise OSError(f"expected {len(line)} bytes to be written, got {written}")

    return write


def _stream_writer(stream: TextIO) -> Callable[[bytes], None]:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        descriptor = stream.fileno()
    except (OSError, AttributeError, ValueError):
        descriptor = None

    def write(line: bytes) -> None:
        encoded = line.decode().encode(encoding, "backslashreplace")
        if descriptor is None:
            stream.write(encoded.decode(encoding))
            stream.flush()
        else:
            # Bypass the stream: a thread that blocks in it holds a lock that the interpreter needs to exit.
            while encoded:
                encoded = encoded[os.write(descriptor, encoded) :]

    return write


def _leave_open() -> None:
    """Do nothing: the stream belongs to the caller."""
