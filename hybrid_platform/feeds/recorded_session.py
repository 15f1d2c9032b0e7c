"""Replay of an earlier session from the database: its ticks again, to be numbered anew.

in: batches that the storage room reads (injected) · out: `FeedBatch`, paced and limited as files are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import numpy as np

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.feeds.base import FeedBatch, Stopper
from hybrid_platform.feeds.pacing import played
from hybrid_platform.settings.feeds import ReplayFeed

StoredTicks = Callable[[str, InstrumentTable], Iterable[TickBatch]]
"""``(session_id, table)`` -> that session's ticks in order of ``seq``; raises ConfigError for one that is not there."""


class StoredReplay:
    """Replays one session."""

    name = "replay"

    def __init__(self, settings: ReplayFeed, table: InstrumentTable, clock: Clock, stored: StoredTicks) -> None:
        self._settings = settings
        self._table = table
        self._clock = clock
        self._stored = stored
        self._source: Iterator[TickBatch] = iter(())

    def open(self) -> None:
        """Read the first batch, so that an unknown session is known now; ConfigError comes from the storage."""
        source = iter(self._stored(self._settings.session or "", self._table))
        first = next(source, None)
        self._source = source if first is None else chain((first,), source)

    def batches(self, stop: Stopper) -> Iterator[FeedBatch]:
        """Yield batches to the end of the session, the limit, or ``stop``."""
        stream = (FeedBatch(_unnumbered(ticks), len(ticks)) for ticks in self._source)
        yield from played(stream, self._settings.speed, self._settings.limit, self._clock, stop)

    def close(self) -> None:
        """Let go of the session."""
        self._source = iter(())


def _unnumbered(ticks: TickBatch) -> TickBatch:
    again = ticks[:]
    again.seq = np.zeros(len(ticks), np.int64)
    return again
