"""How fast a recording plays, how much of it, and in what portions: the same for files and stored sessions.

in: batches as read · out: batches of at most `PORTION` ticks, due by the injected clock, up to a limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from hybrid_platform.domain.clocks import NS_PER_S, Clock
from hybrid_platform.feeds.base import FeedBatch, Stopper

PORTION = 4_096
"""Ticks that travel together (DESIGN 3)."""
_LONGEST_WAIT = 1.0


def played(
    batches: Iterator[FeedBatch], speed: float | Literal["max"], limit: int | None, clock: Clock, stop: Stopper
) -> Iterator[FeedBatch]:
    """Yield what is due of ``batches``, until their end, ``limit`` ticks, or ``stop``.

    ``speed``: ``max``, or a factor of real time, by event time; a time that steps back is due at once.
    """
    portions = _portions(batches, limit)
    if speed != "max":
        portions = _paced(portions, speed, clock, stop)
    for portion in portions:
        if stop.is_set():
            return
        yield portion


def _portions(batches: Iterator[FeedBatch], limit: int | None) -> Iterator[FeedBatch]:
    left = limit
    for batch in batches:
        count = len(batch.ticks) if left is None else min(len(batch.ticks), left)
        for first in range(0, count, PORTION) or (0,):
            yield _part(batch, first, min(first + PORTION, count))
        if left is not None:
            left -= count
            if not left:
                return


def _part(batch: FeedBatch, first: int, last: int) -> FeedBatch:
    """Return some of a batch's ticks; what is not a tick goes with the first of them."""
    ticks = batch.ticks[first:last]
    if first:
        return FeedBatch(ticks, len(ticks))
    return batch._replace(ticks=ticks, received=batch.received - len(batch.ticks) + len(ticks))


def _paced(portions: Iterator[FeedBatch], speed: float, clock: Clock, stop: Stopper) -> Iterator[FeedBatch]:
    start_ns = clock.monotonic_ns()
    origin: int | None = None
    high = 0.0
    for portion in portions:
        ticks = portion.ticks
        if not len(ticks):
            yield portion
            continue
        if origin is None:
            origin, start_ns = int(ticks.ts_event[0]), clock.monotonic_ns()
        due = np.maximum(np.maximum.accumulate(np.ceil((ticks.ts_event - origin) / speed)), high)
        high = float(due[-1])
        sent = 0
        while sent < len(ticks):
            elapsed = clock.monotonic_ns() - start_ns
            ready = int(np.searchsorted(due, elapsed, side="right"))
            if ready > sent:
                yield _part(portion, sent, ready)
                sent = ready
            elif stop.wait(min((float(due[sent]) - elapsed) / NS_PER_S, _LONGEST_WAIT)):
                return
