"""Marks of fills in a figure: one for each fill while they are few, then one for each stretch of time.

in: fills as columns, in order · out: instants and prices by instrument and side. Memory is bounded.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hybrid_platform.domain.ticks import Int64s

Floats = npt.NDArray[np.float64]
MAX_MARKS = 250
"""Marks of either side of an instrument; beyond it, one mark stands for a stretch, at the mean price of its fills."""


class _SideMarks:
    def __init__(self) -> None:
        self.count = 0
        self.first: list[tuple[Int64s, Floats]] = []
        """Instants and prices while they are few."""
        self.weight, self.at, self.price = (np.zeros(MAX_MARKS) for _ in range(3))


class FillMarks:
    """Collector of fills, which come in order. Owned by one reader."""

    def __init__(self, start: int, end: int) -> None:
        """``start`` and ``end`` bound the time axis, in ns."""
        self._start, self._length = start, max(1, end - start)
        self._sides: dict[tuple[int, int], _SideMarks] = {}

    def add(self, instrument: Int64s, side: Floats, ts: Int64s, price: Floats, qty: Floats) -> None:
        """Add fills; ``side`` is 1 for BUY and −1 for SELL."""
        for key in sorted({(int(item), int(way)) for item, way in zip(instrument, side, strict=True)}):
            own = (instrument == key[0]) & (side == key[1])
            self._add(self._sides.setdefault(key, _SideMarks()), ts[own], price[own], qty[own])

    def _add(self, of: _SideMarks, ts: Int64s, price: Floats, qty: Floats) -> None:
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
        """Return the number of fills of an instrument."""
        return sum(of.count for (item, _), of in self._sides.items() if item == instrument)

    def points(self, instrument: int, side: int) -> tuple[Int64s, Floats]:
        """Return instants and prices of the marks for one side of an instrument."""
        found = self._sides.get((instrument, side), _SideMarks())
        if found.count <= MAX_MARKS:
            none = (np.empty(0, dtype=np.int64), np.empty(0))
            ts, price = zip(none, *found.first, strict=True)
            return np.concatenate(ts), np.concatenate(price)
        used = found.weight > 0
        weight = found.weight[used]
        return self._start + (found.at[used] / weight).astype(np.int64), found.price[used] / weight
