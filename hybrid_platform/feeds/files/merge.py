"""Several files as one stream in the order of event time; within a file, never reordered.

in: files · out: their batches, merged. The key of a tick is the running maximum of its own file's event
times, so a file that steps back keeps its order; equal keys go by the order of the files. A file is
begun when the stream reaches its first tick: a year of daily files costs the memory of those that overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hybrid_platform.domain.ticks import Int64s, TickBatch
from hybrid_platform.feeds.base import FeedBatch

_BEFORE_ALL = -(2**63)


class File(Protocol):
    """What can be merged."""

    def first_time(self) -> int | None:
        """Return the event time of its first tick, or None where a short look does not find it."""

    def batches(self) -> Iterator[FeedBatch]:
        """Yield its batches from its beginning."""


class _Begun:
    """One file in the merge: what was read of it and not yet sent on."""

    def __init__(self, file: File) -> None:
        self._batches = file.batches()
        self.ticks: TickBatch | None = None
        """Never empty; None: read on."""
        self.keys: Int64s = np.zeros(0, np.int64)

    def read(self) -> FeedBatch | None:
        """Keep the next batch's ticks and return the rest of it, its rejections; None at the end."""
        batch = next(self._batches, None)
        if batch is None:
            return None
        if len(batch.ticks):
            self.ticks = batch.ticks
            # All that stood before has gone by now, in every file: a batch that begins further back comes next anyway.
            self.keys = np.maximum.accumulate(batch.ticks.ts_event)
        return batch._replace(ticks=batch.ticks[:0], received=batch.received - len(batch.ticks))

    def take(self, upto: int, including: bool) -> tuple[Int64s, TickBatch]:
        """Return keys and ticks below ``upto`` (or at it), which are then gone."""
        assert self.ticks is not None
        count = int(np.searchsorted(self.keys, upto, side="right" if including else "left"))
        taken = self.keys[:count], self.ticks[:count]
        self.ticks = self.ticks[count:] if count < len(self.ticks) else None
        self.keys = self.keys[count:]
        return taken


def merged(files: Sequence[File]) -> Iterator[FeedBatch]:
    """Yield the ticks of all files by time; rejections as their rows are read."""
    firsts = [file.first_time() for file in files]
    waiting = [(_BEFORE_ALL if first is None else first, at) for at, first in enumerate(firsts)]
    waiting.sort(reverse=True)
    begun: dict[int, _Begun] = {}
    while waiting or begun:
        for at in sorted(begun):
            yield from _filled(begun, at)
        # The file whose kept ticks end first says how far all may go; of several, the first in order.
        upto, first = min(((int(file.keys[-1]), at) for at, file in begun.items()), default=(None, -1))
        if waiting and (upto is None or waiting[-1][0] <= upto):
            at = waiting.pop()[1]
            begun[at] = _Begun(files[at])
        elif upto is not None:
            # After it in order, ticks of that very instant wait: it may hold more of them.
            ticks = _joined([begun[at].take(upto, including=at <= first) for at in sorted(begun)])
            yield FeedBatch(ticks, len(ticks))


def _filled(begun: dict[int, _Begun], at: int) -> Iterator[FeedBatch]:
    """Read on until the file has ticks to compare, or is at its end and leaves."""
    while begun[at].ticks is None:
        rest = begun[at].read()
        if rest is None:
            del begun[at]
            return
        yield rest


def _joined(parts: Sequence[tuple[Int64s, TickBatch]]) -> TickBatch:
    """Return the ticks of all parts by key; equal keys stay in the order of the parts."""
    parts = [part for part in parts if len(part[0])]
    if len(parts) == 1:
        return parts[0][1]
    batches = [ticks for _, ticks in parts]
    together = TickBatch(
        batches[0].table,
        np.concatenate([ticks.seq for ticks in batches]),
        np.concatenate([ticks.instrument for ticks in batches]),
        np.concatenate([ticks.price for ticks in batches]),
        np.concatenate([ticks.size for ticks in batches]),
        np.concatenate([ticks.side for ticks in batches]),
        _joined_refs(batches),
        np.concatenate([ticks.ts_event for ticks in batches]),
        np.concatenate([ticks.ts_recv for ticks in batches]),
    )
    return together[np.argsort(np.concatenate([keys for keys, _ in parts]), kind="stable")]


def _joined_refs(batches: Sequence[TickBatch]) -> npt.NDArray[Any] | None:
    refs = [ticks.trade_ref for ticks in batches]
    if all(ref is None for ref in refs):
        return None
    if all(ref is not None and ref.dtype == np.int64 for ref in refs):
        return np.concatenate([ref for ref in refs if ref is not None])
    texts: list[str | None] = []
    for ticks in batches:
        some = ticks.trade_ref
        texts += [None] * len(ticks) if some is None else [None if ref is None else str(ref) for ref in some.tolist()]
    return np.array(texts, dtype=object)
