"""Names and fixed messages of the log lines that code relies on.

A line that is logged with a `LogEvent` as its message carries the event's name in the field ``event``. Readers of logs
and of the event chain compare events (`find_event`), never the text of a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec


class LogEvent(StrEnum):
    """A log line that code relies on: the member's name in lower case is the event, its value the fixed message."""

    PREFLIGHT_STARTED = "preflight"
    HOST_CHECKED = "host checked"
    PREFLIGHT_PASSED = "preflight PASS"
    PRAGMAS_READ_BACK = "PRAGMA verification"
    PRAGMAS_VERIFIED = "all PRAGMAs verified successfully (S1 PASS)"
    PRAGMA_PASSED = "pragma PASS"
    CHANNELS_CREATED = "channels created (S6: bounded)"
    SHADOW_EXECUTION_STARTED = "execution task started (shadow adapter, NO NETWORK)"
    LIVE_EXECUTION_STARTED = "execution task started (live adapter)"
    LIVE_VENUE_OPENED = "live venue open: orders are sent from here on"
    SIGNAL_GENERATED = "signal generated"
    SIGNAL_VETOED = "signal vetoed"
    SHADOW_ORDER_EXECUTED = "shadow order executed (I1: no network call)"
    LIVE_ORDER_SENT = "live order sent"
    LIVE_ORDER_FILLED = "live order filled"
    LIVE_ORDER_LEFT_OPEN = "live order may still be open at the venue: look there"
    HEARTBEAT = "HEARTBEAT (G4)"
    HOST_SNAPSHOT = "host snapshot"
    LADDER_STEPPED = "sampling ladder stepped (S15)"
    FINAL_METRICS = "FINAL METRICS"
    SESSION_ENDED = "session ended"
    POSTFLIGHT_PASSED = "postflight PASS"
    EVIDENCE_WRITTEN = "evidence written"

    @property
    def event(self) -> str:
        """The name in the field ``event``."""
        return self.name.lower()


GATE_PASSED: Mapping[str, LogEvent] = MappingProxyType(
    {
        "preflight": LogEvent.PREFLIGHT_PASSED,
        "pragma": LogEvent.PRAGMA_PASSED,
        "postflight": LogEvent.POSTFLIGHT_PASSED,
    }
)
"""The event of each gate that passed, by the kind of its evidence."""

_BY_EVENT = {member.event: member for member in LogEvent}
_BY_MESSAGE = {member.value: member for member in LogEvent}


def find_event(record: Mapping[str, Any]) -> LogEvent | None:
    """Return the event that a log line or a chained event records, or None if code does not rely on that line.

    Logs and bundles from before events had names have no such field: there the fixed message identifies the event.
    """
    if "event" in record:
        name = record["event"]
        return _BY_EVENT.get(name) if isinstance(name, str) else None
    message = record.get("message")
    return _BY_MESSAGE.get(message) if isinstance(message, str) else None


def parse_line(line: bytes | str) -> dict[str, Any] | None:
    """Return the JSON object on a line of a log, or None if the line is damaged or cut off."""
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
