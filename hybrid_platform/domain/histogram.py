"""Counts of durations by bucket: bounded memory, some hundred nanoseconds an observation.

in: durations, nanoseconds, from one owner thread · out: cumulative counts, as Prometheus wants them; anybody may read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from hybrid_platform.domain.clocks import NS_PER_S


class Histogram:
    """Fixed buckets; a value counts in the first whose upper bound it does not exceed."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds_s: Iterable[float]) -> None:
        """``bounds_s``: upper bounds of the buckets, seconds, ascending; one more, without a bound, follows them."""
        self._bounds = tuple(round(bound * NS_PER_S) for bound in bounds_s)
        if sorted(set(self._bounds)) != list(self._bounds):
            raise ValueError(f"bounds: expected ascending seconds, got {self._bounds} ns")
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0

    def observe(self, value_ns: int) -> None:
        """Count one duration, nanoseconds."""
        self._counts[bisect_left(self._bounds, value_ns)] += 1
        self._sum += value_ns

    @property
    def sum_s(self) -> float:
        """Sum of all that was observed, seconds."""
        return self._sum / NS_PER_S

    def cumulative(self) -> list[tuple[float, int]]:
        """Return each upper bound (seconds, the last infinite) with how many values did not exceed it."""
        total, found = 0, []
        bounds = (*(bound / NS_PER_S for bound in self._bounds), float("inf"))
        for bound, count in zip(bounds, self._counts.copy(), strict=True):
            total += count
            found.append((bound, total))
        return found
