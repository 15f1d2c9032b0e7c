"""Removal of duplicate trades, by the venue's trade id alone (I3, S3).

Time, price and size are not compared, because identical neighbours can be separate trades. Memory is bounded:
the last `WINDOW` ids of each instrument are remembered exactly. An older id counts as a duplicate if the
instrument's ids have only ever increased.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from hybrid_platform.domain.ticks import TickBatch

WINDOW = 8_192
"""Ids of one instrument that are remembered exactly."""
_FEW = 32
"""Below this many ticks, a plain loop is faster than columns."""


class _KnownIds:
    """The ids of one instrument."""

    __slots__ = ("chunks", "floor", "high", "increasing", "known", "pending", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.known: dict[int | str, None] = {}
        """The last ids, oldest first."""
        self.chunks: deque[npt.NDArray[Any]] = deque()
        """Increasing ids that are newer than ``known`` and not yet folded into it."""
        self.pending = 0
        self.high: int | None = None
        self.floor: int | None = None
        """The largest forgotten id."""
        self.increasing = True

    def append_if_increasing(self, ids: npt.NDArray[Any]) -> bool:
        """Remember integer ids if they only increase from the known ones; return whether they do, so all are new."""
        if (
            not self.increasing
            or (self.high is not None and int(ids[0]) <= self.high)
            or bool((np.diff(ids) <= 0).any())
        ):
            return False
        self.high = int(ids[-1])
        self.chunks.append(ids)
        self.pending += len(ids)
        while self.pending - len(self.chunks[0]) >= self.window:
            # The ids of `known` are older than any chunk, so they are forgotten with it.
            self.known.clear()
            gone = self.chunks.popleft()
            self.pending -= len(gone)
            self.floor = int(gone[-1])
        return True

    def add(self, ref: int | str) -> bool:
        """Remember one id; return whether it is new."""
        while self.chunks:
            self.known.update(dict.fromkeys(self.chunks.popleft().tolist()))
        self.pending = 0
        if ref in self.known:
            return False
        if isinstance(ref, int):
            if self.increasing and self.floor is not None and ref <= self.floor:
                return False
            if self.high is not None and ref < self.high:
                self.increasing = False
            self.high = ref if self.high is None else max(self.high, ref)
        else:
            self.increasing = False
        self.known[ref] = None
        while len(self.known) > self.window:
            oldest = next(iter(self.known))
            del self.known[oldest]
            if isinstance(oldest, int):
                self.floor = oldest if self.floor is None else max(self.floor, oldest)
        return True


def _normalize(ref: int | str) -> int | str:
    """Return an id as an integer if it is one: a batch holds ``5`` if all its ids are integers, otherwise ``"5"``."""
    is_integer = isinstance(ref, str) and len(ref) < 19 and ref.isascii() and ref.isdigit() and str(int(ref)) == ref
    return int(ref) if is_integer else ref


class Deduplicator:
    """Owned by ingest, which passes every tick of the session once, in order."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._seen: dict[int, _KnownIds] = {}

    def new_only(self, batch: TickBatch) -> TickBatch:
        """Return the batch without the ticks whose trade id was seen before; ticks without an id stay."""
        refs = batch.trade_ref
        if refs is None or not len(batch):
            return batch
        if len(batch) >= _FEW and refs.dtype == np.int64:
            first = int(batch.instrument[0])
            if not bool((batch.instrument != first).any()) and self._known_ids(first).append_if_increasing(refs):
                return batch
        keep = [
            ref is None or self._known_ids(instrument).add(_normalize(ref))
            for instrument, ref in zip(batch.instrument.tolist(), refs.tolist(), strict=True)
        ]
        return batch if all(keep) else batch[np.array(keep, dtype=bool)]

    def _known_ids(self, instrument: int) -> _KnownIds:
        seen = self._seen.get(instrument)
        if seen is None:
            seen = self._seen[instrument] = _KnownIds(self._window)
        return seen
