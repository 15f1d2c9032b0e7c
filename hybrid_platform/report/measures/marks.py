"""Where fills are marked in a picture: each while they are few, else one mark for all of a stretch of time.

in: fills as columns, in order · out: per instrument and side, instants and prices. Memory does not grow with them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hybrid_platform.domain.ticks import Int64s

Floats = npt.NDArray[np.float64]
MAX_MARKS = 250
"""Marks of either side of an instrument: beyond it, one stands for all fills of a stretch, at their mean price."""


class _Side:
    def __init__(self) -> None:
        self.count = 0
        self.first: list[tuple[Int64s, Floats]] = []
        """Instants and prices, while there are few."""
        self.weight, self.at, self.price = (np.zeros(MAX_MARKS) for _ in range(3))


class FillMarks:
    """Takes fills in order; owned by one reader."""

    def __init__(self, start: int, end: int) -> None:
        """``start``, ``end``: of the time that is shown, ns."""
        self._start, self._length = start, max(1, end - start)
        self._sides: dict[tuple[int, int], _Side] = {}

    def note(self, instrument: Int64s, side: Floats, ts: Int64s, price: Floats, qty: Floats) -> None:
        """Take fills; ``side``: 1 BUY, −1 SELL."""
        for key in sorted({(int(item), int(way)) for item, way in zip(instrument, side, strict=True)}):
            own = (instrument == key[0]) & (side == key[1])
            self._add(self._sides.setdefault(key, _Side()), ts[own], price[own], qty[own])

    def _add(self, of: _Side, ts: Int64s, price: Floats, qty: Floats) -> None:
        of.count += len(ts)
        if of.count <= MAX_MARKS:
            of.first.append((ts, price))
        else:
            of.first.clear()
        stretch = np.clip((ts - self._start) * MAX_MARKS // self._length, 0, MAX_MARKS - 1)
        of.weight += np.bincount(stretch, qty, MAX_MARKS)
        of.at += np.bincount(stretch, (ts - self._start) * qty, MAX_MARKS)
        of.price += np.bincount(stretch, price * qty, MAX_MARKS)

    def count(self, instrument: int) -> int:
        """Return how many fills of an instrument there were."""
        return sum(of.count for (item, _), of in self._sides.items() if item == instrument)

    def of(self, instrument: int, side: int) -> tuple[Int64s, Floats]:
        """Return when and at which price an instrument's fills of a side are marked."""
        found = self._sides.get((instrument, side), _Side())
        if found.count <= MAX_MARKS:
            none = (np.empty(0, dtype=np.int64), np.empty(0))
            ts, price = zip(none, *found.first, strict=True)
            return np.concatenate(ts), np.concatenate(price)
        used = found.weight > 0
        weight = found.weight[used]
        return self._start + (found.at[used] / weight).astype(np.int64), found.price[used] / weight
