"""Tests of the row count that a session's log last reported as committed (L4)."""

from __future__ import annotations

import json

import pytest

from hybrid_platform.log.session_log import log_name
from hybrid_platform.maintenance.lost_rows import read_last_reported_rows
from hybrid_platform.security.paths import DataDir

SESSION = "20260102T030405Z-1a2b3c4d"
OTHER = {"message": "strategy said", "line": '"message":"HEARTBEAT (G4)","persist_count":9', "persist_count": 9}


@pytest.mark.scenario("L4")
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([{"message": "beat", "event": "heartbeat", "persist_count": 1}, OTHER], 1),
        ([{"message": "HEARTBEAT (G4)", "persist_count": 2}, OTHER], 2),
        ([{"message": "FINAL METRICS", "event": "final_metrics", "persist_count": 3}], 3),
        ([{"event": "heartbeat", "persist_count": 4}, {"event": "heartbeat", "persist_count": None}], 4),
        ([OTHER], None),
        ([], None),
    ],
    ids=["by event", "by message", "final", "without a count", "other lines", "empty"],
)
def test_the_last_reported_count_is_found(tmp_path, lines, expected):
    """A line that was cut off when the process ended is skipped."""
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines) + '{"event":"heartbeat","persist'
    DataDir(tmp_path).write_atomic(log_name(SESSION), text.encode())
    assert read_last_reported_rows(DataDir(tmp_path), SESSION) == expected


def test_a_missing_log_reports_nothing(tmp_path):
    assert read_last_reported_rows(DataDir(tmp_path), SESSION) is None
