"""Heartbeats, host pressure and throttle ladder (S15) of a session over time, read from its event chain."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from hybrid_platform.domain.errors import EvidenceError
from hybrid_platform.evidence.chain import ChainEntry, walk_chain
from hybrid_platform.log.events import LogEvent, find_event

Point = tuple[float, float]

_PLOTTED_EVENTS = frozenset(
    {
        LogEvent.HOST_CHECKED,
        LogEvent.HOST_SNAPSHOT,
        LogEvent.HEARTBEAT,
        LogEvent.FINAL_METRICS,
        LogEvent.LADDER_STEPPED,
    }
)


class Timeline(NamedTuple):
    """Series of points: seconds since the first event, and a value."""

    pressure: tuple[Point, ...] = ()
    """CPU pressure in percent: before the session, at each interval, and after it."""
    lateness: tuple[Point, ...] = ()
    """Lateness of each heartbeat, in ms."""
    ticks: tuple[Point, ...] = ()
    """Ticks per second between two heartbeats, at the later one."""
    sampling: tuple[Point, ...] = ()
    """Sampling interval (one tick in n): two points at each step, one at each heartbeat; empty without a step."""


def read_timeline(lines: Iterable[bytes], session_id: str) -> Timeline:
    """Return the timeline, or an empty one for a damaged chain, which `verify` reports."""
    reader = _Reader()
    try:
        walk_chain(lines, session_id, reader.add)
    except (EvidenceError, KeyError, TypeError, ValueError):
        return Timeline()
    sampling = tuple(reader.sampling) if reader.has_stepped else ()
    return Timeline(tuple(reader.pressure), tuple(reader.lateness), tuple(reader.ticks), sampling)


class _Reader:
    """Collector of the numbers in each event; it does not keep the events, because a chain may be long."""

    def __init__(self) -> None:
        self.pressure: list[Point] = []
        self.lateness: list[Point] = []
        self.ticks: list[Point] = []
        self.sampling: list[Point] = []
        self.has_stepped = False
        self._began: float | None = None
        self._before: Point | None = None

    def add(self, entry: ChainEntry) -> None:
        event = entry.event
        log_event = find_event(event)
        if log_event not in _PLOTTED_EVENTS:
            return
        now = datetime.fromisoformat(event["ts"]).timestamp()
        self._began = now if self._began is None else self._began
        at = now - self._began
        if log_event is LogEvent.LADDER_STEPPED:
            self.has_stepped = True
            self.sampling += [(at, float(event["before"])), (at, float(event["sample_every"]))]
            self.pressure.append((at, float(event["pressure"])))
            return
        if "cpu_pressure" in event:
            self.pressure.append((at, float(event["cpu_pressure"])))
            return
        if "late_ms" in event:
            self.lateness.append((at, float(event["late_ms"])))
        if "sample_every" in event:
            self.sampling.append((at, float(event["sample_every"])))
        elapsed, count = float(event["elapsed_s"]), float(event["tick_count"])
        if self._before is not None and elapsed > self._before[0]:
            self.ticks.append((at, (count - self._before[1]) / (elapsed - self._before[0])))
        self._before = (elapsed, count)
