"""A session's heartbeats and its host's pressure over time, read from the chain of its events."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from hybrid_platform.domain.errors import EvidenceError
from hybrid_platform.evidence.chain import Link, walk_chain

Point = tuple[float, float]


class Timeline(NamedTuple):
    """Points of seconds since the first event, and a value."""

    pressure: tuple[Point, ...] = ()
    """CPU pressure, percent: before, at each interval, after."""
    lateness: tuple[Point, ...] = ()
    """How late each heartbeat was, milliseconds."""
    ticks: tuple[Point, ...] = ()
    """Ticks a second between two heartbeats, at the later one."""


def read_timeline(lines: Iterable[bytes], session_id: str) -> Timeline:
    """Return the timeline; what a damaged chain says is left out: `verify` is who tells of it."""
    events: list[dict[str, Any]] = []

    def keep(link: Link) -> None:
        if link.event.get("message") in {"host checked", "host snapshot", "HEARTBEAT (G4)", "FINAL METRICS"}:
            events.append(link.event)

    try:
        walk_chain(lines, session_id, keep)
        return _timeline(events)
    except (EvidenceError, KeyError, TypeError, ValueError):
        return Timeline()


def _timeline(events: list[dict[str, Any]]) -> Timeline:
    if not events:
        return Timeline()
    began = _seconds(events[0])
    pressure: list[Point] = []
    lateness: list[Point] = []
    ticks: list[Point] = []
    seen: tuple[float, float] | None = None
    for event in events:
        at = _seconds(event) - began
        if "cpu_pressure" in event:
            pressure.append((at, float(event["cpu_pressure"])))
            continue
        if "late_ms" in event:
            lateness.append((at, float(event["late_ms"])))
        count, elapsed = float(event["tick_count"]), float(event["elapsed_s"])
        if seen is not None and elapsed > seen[0]:
            ticks.append((at, (count - seen[1]) / (elapsed - seen[0])))
        seen = (elapsed, count)
    return Timeline(tuple(pressure), tuple(lateness), tuple(ticks))


def _seconds(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["ts"]).timestamp()
