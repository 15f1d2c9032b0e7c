"""Tests of the timeline that a report reads from the event chain."""

from __future__ import annotations

import pytest

from hybrid_platform.evidence.chain import EventChain, events_name
from hybrid_platform.log.events import LogEvent
from hybrid_platform.report.timeline import Timeline, read_timeline
from hybrid_platform.security.paths import DataDir
from hybrid_platform.testing import TestClock

SESSION = "20260102T030405Z-1a2b3c4d"
STEPS = (
    (LogEvent.HOST_CHECKED, {"cpu_pressure": 12.5}),
    (LogEvent.HEARTBEAT, {"late_ms": 0, "elapsed_s": 0, "tick_count": 0}),
    (LogEvent.LADDER_STEPPED, {"before": 1, "sample_every": 2, "pressure": 85}),
    (LogEvent.HEARTBEAT, {"late_ms": 3, "elapsed_s": 10, "tick_count": 20}),
)


@pytest.mark.parametrize("is_named", [True, False], ids=["by event", "by message"])
def test_events_are_read_by_name_and_in_older_chains_by_message(tmp_path, is_named):
    """A bundle that was sealed before events had names gives the same timeline."""
    chain = EventChain(DataDir(tmp_path), SESSION, TestClock())
    for second, (event, fields) in enumerate(STEPS):
        message = {"message": "in other words", "event": event.event} if is_named else {"message": event.value}
        chain.watch({"ts": f"2026-01-02T03:04:{second:02}.000000Z", "level": "info", **message, **fields})
    chain.flush()
    with (tmp_path / events_name(SESSION)).open("rb") as lines:
        timeline = read_timeline(lines, SESSION)
    assert timeline.pressure == ((0.0, 12.5), (2.0, 85.0))
    assert timeline.lateness == ((1.0, 0.0), (3.0, 3.0))
    assert timeline.ticks == ((3.0, 2.0),)
    assert timeline.sampling == ((2.0, 1.0), (2.0, 2.0))


def test_the_timeline_is_read_from_the_chain(ended, session_id):
    """A damaged chain gives an empty timeline."""
    lines = (ended.root / "evidence" / session_id / "events.jsonl").read_bytes().splitlines(keepends=True)
    timeline = read_timeline(lines, session_id)
    assert len(timeline.lateness) >= 3
    assert len(timeline.pressure) >= 2
    assert all(later[0] >= earlier[0] for earlier, later in zip(timeline.ticks, timeline.ticks[1:], strict=False))
    assert read_timeline(lines[1:], session_id) == Timeline()
    assert read_timeline([b'{"n": 1}\n'], session_id) == Timeline()
