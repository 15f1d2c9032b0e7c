"""Replay of an earlier session from the database.

in: batches read by the storage package (injected) · out: `FeedBatch` objects without sequence numbers, paced and
limited as files are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import numpy as np

from hybrid_platform.domain.clocks import Clock, Stopper
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.feeds.base import FeedBatch
from hybrid_platform.feeds.pacing import pace_batches
from hybrid_platform.settings.feeds import ReplayFeed

ReadSessionTicks = Callable[[str, InstrumentTable], Iterable[TickBatch]]
"""``(session_id, table)`` -> that session's ticks in order of ``seq``; raises ConfigError for an unknown session."""


class RecordedSessionFeed:
    """A `Feed` that replays one stored session."""

    name = "replay"

    def __init__(
        self, settings: ReplayFeed, table: InstrumentTable, clock: Clock, read_session: ReadSessionTicks
    ) -> None:
        self._settings = settings
        self._table = table
        self._clock = clock
        self._read_session = read_session
        self._source: Iterator[TickBatch] = iter(())

    def open(self) -> None:
        """Read the first batch, so that an unknown session raises its ConfigError before the session starts."""
        source = iter(self._read_session(self._settings.session or "", self._table))
        first = next(source, None)
        self._source = source if first is None else chain((first,), source)

    def batches(self, stop: Stopper) -> Iterator[FeedBatch]:
        """Yield batches to the end of the session, the limit, or ``stop``."""
        stream = (FeedBatch(_without_seq(ticks), len(ticks)) for ticks in self._source)
        yield from pace_batches(stream, self._settings.speed, self._settings.limit, self._clock, stop)

    def close(self) -> None:
        """Release the session's batches."""
        self._source = iter(())


def _without_seq(ticks: TickBatch) -> TickBatch:
    unnumbered = ticks[:]
    unnumbered.seq = np.zeros(len(ticks), np.int64)
    return unnumbered
