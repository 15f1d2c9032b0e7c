"""The sampler of a throttled feed: of each instrument the first tick passes, and then every n-th (S15).

in: new ticks, without duplicates · out: the ticks that pass; the others get no number, are neither shown to the
strategy nor persisted, and are counted by level. Sampling is by instrument, so that a pattern in the order of
ticks starves none, and by count alone, so that the same ticks and steps give the same choice.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from hybrid_platform.domain.ticks import TickBatch


class Sampler:
    """Owned by ingest, except for `every`, which the supervising thread sets."""

    def __init__(self) -> None:
        self.every = 1
        """Every n-th tick passes."""
        self.sampled_out: Counter[int] = Counter()
        """Ticks sampled out, by the value of ``every`` at that time."""
        self._current = 1
        self._seen: dict[int, int] = {}
        """Instrument -> ticks since the last step, modulo ``every``."""

    def pick(self, batch: TickBatch) -> TickBatch:
        """Return the ticks that pass; a view if they are all of one instrument."""
        every = self.every
        if every == 1 and self._current == 1:
            return batch
        if every != self._current:
            self._current = every
            self._seen.clear()
        if every == 1:
            return batch
        picked = self._picked(batch, every)
        self.sampled_out[every] += len(batch) - len(picked)
        return picked

    def _picked(self, batch: TickBatch, every: int) -> TickBatch:
        first = int(batch.instrument[0])
        if len(batch) == 1 or not bool((batch.instrument != first).any()):
            return batch[self._take(first, len(batch), every) :: every]
        keep = np.zeros(len(batch), dtype=np.bool_)
        for instrument in np.unique(batch.instrument).tolist():
            places = np.flatnonzero(batch.instrument == instrument)
            keep[places[self._take(instrument, len(places), every) :: every]] = True
        return batch[keep]

    def _take(self, instrument: int, count: int, every: int) -> int:
        """Count ``count`` ticks; return the position of the first that passes."""
        seen = self._seen.get(instrument, 0)
        self._seen[instrument] = (seen + count) % every
        return -seen % every
