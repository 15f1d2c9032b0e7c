"""Mean print sizes, which stand in for the depth of a book that nobody recorded."""

from __future__ import annotations

import numpy as np

from hybrid_platform.domain.ticks import Int64s, TickBatch

_LOW = 0xFFFFFFFF


class PrintSizes:
    """Count and sum of print sizes by instrument, exact: sizes are summed in two halves of 32 bits.

    A batch of up to 2^20 ticks keeps each half's sum below 2^53, where even floats are exact.
    """

    def __init__(self) -> None:
        self._sums: Int64s = np.zeros((3, 0), dtype=np.int64)
        """Count, sum of the low halves, sum of the high halves."""

    def add(self, ticks: TickBatch) -> None:
        """Count ticks that are not counted yet."""
        halves = (None, ticks.size & _LOW, ticks.size >> 32)
        sums = np.stack([np.bincount(ticks.instrument, half, len(ticks.table)) for half in halves]).astype(np.int64)
        sums[:, : self._sums.shape[1]] += self._sums
        self._sums = sums

    def mean(self, index: int) -> int:
        """Return an instrument's mean print size in units, rounded down; 0 before its first print."""
        if index >= self._sums.shape[1]:
            return 0
        count, low, high = self._sums[:, index].tolist()
        return ((high << 32) + low) // count if count else 0
