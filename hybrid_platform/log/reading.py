"""Key lines of a finished session's log, read back for its report."""

from __future__ import annotations

import os

from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.log.events import LogEvent, find_event, parse_line
from hybrid_platform.log.session_log import log_name
from hybrid_platform.security.paths import DataDir

KEY_EVENTS = (
    LogEvent.PRAGMAS_READ_BACK,
    LogEvent.PRAGMAS_VERIFIED,
    LogEvent.CHANNELS_CREATED,
    LogEvent.SHADOW_EXECUTION_STARTED,
    LogEvent.LIVE_EXECUTION_STARTED,
    LogEvent.LIVE_VENUE_OPENED,
    LogEvent.SIGNAL_GENERATED,
    LogEvent.SHADOW_ORDER_EXECUTED,
    LogEvent.LIVE_ORDER_SENT,
    LogEvent.LIVE_ORDER_FILLED,
    LogEvent.LIVE_ORDER_LEFT_OPEN,
    LogEvent.HEARTBEAT,
    LogEvent.FINAL_METRICS,
    LogEvent.SESSION_ENDED,
)
MAX_LINES_PER_EVENT = 2
MAX_LINE_CHARS = 65_536


def read_key_lines(data_dir: DataDir, session_id: str) -> tuple[str, ...]:
    """Return the first lines of each key event, in the log's order; none if the log cannot be read.

    The log is read line by line, so it may be of any length.
    """
    remaining = dict.fromkeys(KEY_EVENTS, MAX_LINES_PER_EVENT)
    lines = []
    try:
        descriptor = data_dir.open(log_name(session_id), os.O_RDONLY)
    except (FileNotFoundError, PlatformError):
        return ()
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        while line := file.readline(MAX_LINE_CHARS):
            record = parse_line(line)
            event = None if record is None else find_event(record)
            if event is not None and remaining.get(event, 0):
                remaining[event] -= 1
                lines.append(line.rstrip("\n"))
    return tuple(lines)
