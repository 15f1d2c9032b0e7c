"""Names and fixed messages of the log lines that code relies on."""

from __future__ import annotations

import io
import json

import pytest

from hybrid_platform.log.events import LogEvent, find_event, parse_line
from hybrid_platform.log.session_log import SessionLog, render_text
from hybrid_platform.testing import TestClock

DOCUMENTED = {
    "pragmas_read_back": "PRAGMA verification",
    "pragmas_verified": "all PRAGMAs verified successfully (S1 PASS)",
    "channels_created": "channels created (S6: bounded)",
    "shadow_execution_started": "execution task started (shadow adapter, NO NETWORK)",
    "signal_generated": "signal generated",
    "shadow_order_executed": "shadow order executed (I1: no network call)",
    "heartbeat": "HEARTBEAT (G4)",
    "final_metrics": "FINAL METRICS",
}
"""Messages that other people's scripts rely on, to the letter."""


def test_documented_messages_and_names_are_fixed():
    assert {event.event: event.value for event in LogEvent}.items() >= DOCUMENTED.items()


@pytest.mark.parametrize("event", LogEvent)
def test_events_are_found_by_name_and_in_older_logs(event):
    """A renamed message is still found by its event; a log written before events had names, by its message."""
    assert find_event({"event": event.event, "message": "in other words"}) is event
    assert find_event({"message": event.value}) is event


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"message": "reconnected"},
        {"message": "heartbeat"},
        {"message": ["HEARTBEAT (G4)"]},
        {"message": "HEARTBEAT (G4)", "event": "FAILURE"},
        {"event": "HEARTBEAT (G4)"},
        {"event": ["heartbeat"]},
    ],
    ids=repr,
)
def test_other_lines_record_no_event(record):
    assert find_event(record) is None


def test_only_an_event_carries_a_name():
    stream = io.StringIO()
    with SessionLog("s", TestClock(), stream=stream) as log:
        log.info(LogEvent.HEARTBEAT, n=1, event="forged")
        log.limited("info", LogEvent.SIGNAL_GENERATED, reason_code="X")
        log.info("HEARTBEAT (G4)", n=2)
        log.info("notification delivered", event="FAILURE")
    beat, signal, typed, notification = map(json.loads, stream.getvalue().splitlines())
    assert list(beat) == ["ts", "level", "session_id", "message", "n", "event_", "event"]
    assert (beat["message"], beat["event"], beat["event_"]) == ("HEARTBEAT (G4)", "heartbeat", "forged")
    assert signal["event"] == "signal_generated"
    assert "event" not in typed
    assert notification["event"] == "FAILURE"


def test_a_terminal_shows_no_event_name():
    stream = io.StringIO()
    with SessionLog("s", TestClock(), stream=stream, render=render_text) as log:
        log.info(LogEvent.HEARTBEAT, n=1)
        log.info("notification delivered", event="FAILURE")
    beat, notification = stream.getvalue().splitlines()
    assert beat.endswith("HEARTBEAT (G4) n=1")
    assert notification.endswith("notification delivered event=FAILURE")


@pytest.mark.parametrize("line", ["", "{", "[1]", "7", '{"a": 1} x', b"\xff", b'{"a": "\xff"}', "[" * 100_000])
def test_a_damaged_line_is_not_parsed(line):
    assert parse_line(line) is None


def test_a_whole_line_is_parsed():
    assert parse_line('{"message":"x","n":1}\n') == {"message": "x", "n": 1}
