"""Merge of several files by event time, without reordering the ticks of a file.

in: files · out: their batches, merged. The key of a tick is the running maximum of its own file's event times, so a
file whose times step back keeps its order; equal keys follow the order of the files. A file is opened when the stream
reaches its first tick, so a year of daily files only needs memory for those that overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from hybrid_platform.domain.ticks import Int64s, TickBatch, concat_batches
from hybrid_platform.feeds.base import FeedBatch

_BEFORE_ALL = -(2**63)


class MergeableFile(Protocol):
    """A file that can be merged."""

    def first_time(self) -> int | None:
        """Return the event time of its first tick, or None if that is not known in advance."""

    def batches(self) -> Iterator[FeedBatch]:
        """Yield its batches from its beginning."""


class _OpenFile:
    """One open file in the merge, with the ticks that were read and not yet sent."""

    def __init__(self, file: MergeableFile) -> None:
        self._batches = file.batches()
        self.ticks: TickBatch | None = None
        """Never empty; None if the next batch must be read."""
        self.keys: Int64s = np.zeros(0, np.int64)

    def read(self) -> FeedBatch | None:
        """Keep the next batch's ticks and return its rejections as a batch without ticks; None at the end."""
        batch = next(self._batches, None)
        if batch is None:
            return None
        if len(batch.ticks):
            self.ticks = batch.ticks
            # The maximum may restart with each batch: all earlier ticks of every file have been sent by now.
            self.keys = np.maximum.accumulate(batch.ticks.ts_event)
        return batch._replace(ticks=batch.ticks[:0], received=batch.received - len(batch.ticks))

    def take(self, upto: int, including: bool) -> tuple[Int64s, TickBatch]:
        """Remove and return the keys and ticks before ``upto``, or up to and including it."""
        assert self.ticks is not None
        count = int(np.searchsorted(self.keys, upto, side="right" if including else "left"))
        taken = self.keys[:count], self.ticks[:count]
        self.ticks = self.ticks[count:] if count < len(self.ticks) else None
        self.keys = self.keys[count:]
        return taken


def merge_files(files: Sequence[MergeableFile]) -> Iterator[FeedBatch]:
    """Yield the ticks of all files by time, and rejections as soon as their rows are read."""
    firsts = [file.first_time() for file in files]
    waiting = [(_BEFORE_ALL if first is None else first, at) for at, first in enumerate(firsts)]
    waiting.sort(reverse=True)
    open_files: dict[int, _OpenFile] = {}
    while waiting or open_files:
        for at in sorted(open_files):
            yield from _read_ahead(open_files, at)
        # All files may advance to the end of the one whose kept ticks end first; of several, the first in order.
        upto, first = min(((int(file.keys[-1]), at) for at, file in open_files.items()), default=(None, -1))
        if waiting and (upto is None or waiting[-1][0] <= upto):
            at = waiting.pop()[1]
            open_files[at] = _OpenFile(files[at])
        elif upto is not None:
            # Files after it in order keep their ticks of that instant, because it may hold more of them.
            ticks = _concat_sorted([open_files[at].take(upto, including=at <= first) for at in sorted(open_files)])
            yield FeedBatch(ticks, len(ticks))


def _read_ahead(open_files: dict[int, _OpenFile], at: int) -> Iterator[FeedBatch]:
    """Read until the file has ticks to compare; at its end, remove it."""
    while open_files[at].ticks is None:
        rest = open_files[at].read()
        if rest is None:
            del open_files[at]
            return
        yield rest


def _concat_sorted(parts: Sequence[tuple[Int64s, TickBatch]]) -> TickBatch:
    """Return the ticks of all parts by key; equal keys stay in the order of the parts."""
    parts = [part for part in parts if len(part[0])]
    if len(parts) == 1:
        return parts[0][1]
    ticks = concat_batches([ticks for _, ticks in parts])
    if ticks.trade_ref is not None and ticks.trade_ref.dtype == object:
        # A batch holds ids of one type, or ingest could not recognise a duplicate.
        ticks.trade_ref = np.array([None if ref is None else str(ref) for ref in ticks.trade_ref], dtype=object)
    return ticks[np.argsort(np.concatenate([keys for keys, _ in parts]), kind="stable")]
