"""Tests of the key lines that a report quotes from a finished log."""

from __future__ import annotations

import json
from pathlib import Path

from hybrid_platform.log.events import LogEvent
from hybrid_platform.log.reading import KEY_EVENTS, MAX_LINES_PER_EVENT, read_key_lines
from hybrid_platform.log.session_log import SessionLog, log_name
from hybrid_platform.security.paths import DataDir
from hybrid_platform.testing import TestClock

SESSION = "20260102T030405Z-1a2b3c4d"


def test_the_first_lines_of_each_key_event_are_read_in_order(tmp_path: Path) -> None:
    with SessionLog(SESSION, TestClock(), data_dir=DataDir(tmp_path)) as log:
        log.info("other")
        for n in range(5):
            for event in KEY_EVENTS:
                log.info(event, n=n)
        log.info(LogEvent.HOST_SNAPSHOT)
    found = [json.loads(line) for line in read_key_lines(DataDir(tmp_path), SESSION)]
    expected = [(event.value, n) for n in range(MAX_LINES_PER_EVENT) for event in KEY_EVENTS]
    assert [(line["message"], line["n"]) for line in found] == expected


def test_a_log_without_event_names_is_read_by_its_messages(tmp_path: Path) -> None:
    lines = ['{"message":"HEARTBEAT (G4)","n":0}', '{"message":"other"}', "damaged", '{"message":"FINAL METRICS"}']
    DataDir(tmp_path).write_atomic(log_name(SESSION), "\n".join(lines).encode())
    assert read_key_lines(DataDir(tmp_path), SESSION) == (lines[0], lines[3])


def test_text_of_a_message_inside_a_field_is_not_an_event(tmp_path: Path) -> None:
    with SessionLog(SESSION, TestClock(), data_dir=DataDir(tmp_path)) as log:
        log.info("strategy said", line='"message":"HEARTBEAT (G4)"')
    assert read_key_lines(DataDir(tmp_path), SESSION) == ()


def test_a_missing_log_has_no_key_lines(tmp_path: Path) -> None:
    assert read_key_lines(DataDir(tmp_path), SESSION) == ()
