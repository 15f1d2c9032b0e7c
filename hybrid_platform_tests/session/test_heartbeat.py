"""Late and missing heartbeats are counted (G4)."""

from __future__ import annotations

import pytest

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.session.heartbeat import Heartbeats


def seconds(value: float) -> int:
    return int(value * NS_PER_S)


@pytest.mark.scenario("G4")
def test_a_heartbeat_at_the_start_and_every_interval():
    beats = Heartbeats(10, 2)
    found = [beat.n for t in range(0, 31) if (beat := beats.due(seconds(t)))]
    assert found == [0, 1, 2, 3]
    assert (beats.late, beats.missing(seconds(30.5))) == (0, 0)


@pytest.mark.scenario("G4")
def test_a_late_heartbeat_is_counted():
    beats = Heartbeats(10, 2)
    beats.due(0)
    assert beats.due(seconds(12)).is_late is False
    beat = beats.due(seconds(22.5))
    assert (beat.is_late, beat.late_ms) == (True, 2500)
    assert beats.late == 1


@pytest.mark.scenario("G4")
def test_heartbeats_that_never_came_are_missing():
    beats = Heartbeats(10, 2)
    beats.due(0)
    beat = beats.due(seconds(35))
    assert beat.n == 3
    assert beats.missing(seconds(36)) == 2
    assert beats.missing(seconds(60)) == 4


@pytest.mark.scenario("G4")
def test_a_session_that_ends_at_a_due_heartbeat_misses_none():
    beats = Heartbeats(10, 2)
    beats.due(0)
    assert beats.missing(seconds(10.5)) == 0
