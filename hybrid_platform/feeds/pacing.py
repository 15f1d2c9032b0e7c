"""Playback speed, limit and batch size of a replay, shared by files and stored sessions.

in: batches as read · out: batches of at most `MAX_BATCH_TICKS` ticks, up to a limit, each due by the injected clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from hybrid_platform.domain.clocks import NS_PER_S, Clock, Stopper
from hybrid_platform.feeds.base import FeedBatch

MAX_BATCH_TICKS = 4_096
"""Ticks that travel through the pipeline together, at most."""
_MAX_WAIT_S = 1.0


def pace_batches(
    batches: Iterator[FeedBatch], speed: float | Literal["max"], limit: int | None, clock: Clock, stop: Stopper
) -> Iterator[FeedBatch]:
    """Yield the ticks of ``batches`` as they become due, until the end, ``limit`` ticks, or ``stop``.

    ``speed`` is ``max`` or a factor of real time, measured in event time. A tick whose event time steps
    back is due at once.
    """
    parts = _split(batches, limit)
    if speed != "max":
        parts = _delay(parts, speed, clock, stop)
    for part in parts:
        if stop.is_set():
            return
        yield part


def _split(batches: Iterator[FeedBatch], limit: int | None) -> Iterator[FeedBatch]:
    remaining = limit
    for batch in batches:
        count = len(batch.ticks) if remaining is None else min(len(batch.ticks), remaining)
        for first in range(0, count, MAX_BATCH_TICKS) or (0,):
            yield _slice_batch(batch, first, min(first + MAX_BATCH_TICKS, count))
        if remaining is not None:
            remaining -= count
            if not remaining:
                return


def _slice_batch(batch: FeedBatch, first: int, last: int) -> FeedBatch:
    """Return some of a batch's ticks; the first slice also carries the rejections."""
    ticks = batch.ticks[first:last]
    if first:
        return FeedBatch(ticks, len(ticks))
    return batch._replace(ticks=ticks, received=batch.received - len(batch.ticks) + len(ticks))


def _delay(batches: Iterator[FeedBatch], speed: float, clock: Clock, stop: Stopper) -> Iterator[FeedBatch]:
    start_ns = clock.monotonic_ns()
    origin: int | None = None
    latest_due = 0.0
    for batch in batches:
        ticks = batch.ticks
        if not len(ticks):
            yield batch
            continue
        if origin is None:
            origin, start_ns = int(ticks.ts_event[0]), clock.monotonic_ns()
        due = np.maximum(np.maximum.accumulate(np.ceil((ticks.ts_event - origin) / speed)), latest_due)
        latest_due = float(due[-1])
        sent = 0
        while sent < len(ticks):
            elapsed = clock.monotonic_ns() - start_ns
            ready = int(np.searchsorted(due, elapsed, side="right"))
            if ready > sent:
                yield _slice_batch(batch, sent, ready)
                sent = ready
            elif stop.wait(min((float(due[sent]) - elapsed) / NS_PER_S, _MAX_WAIT_S)):
                return
