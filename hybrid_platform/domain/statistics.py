"""Small statistics with one definition each: quantiles, a histogram of durations, and the running median lag (S7).

Pure: the same values give the same figures, live and in a replay.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Sequence
from math import ceil
from typing import TypeVar

from hybrid_platform.domain.clocks import NS_PER_S

Number = TypeVar("Number", int, float)

WINDOW = 512
"""Messages the median runs over: long enough to ignore a burst, short enough to follow a clock step."""
MIN_SAMPLES = 20


def quantile(ordered: Sequence[Number], share: float, *, higher: bool = False) -> Number:
    """Return the quantile of a share (0 … 1) of ascending values, of which there must be at least one.

    The result is one of the values, never an interpolation: between two of them the lower one, or the higher one
    if ``higher``.
    """
    place = (len(ordered) - 1) * share
    return ordered[ceil(place) if higher else int(place)]


class Histogram:
    """Counts of durations by fixed bucket: a value counts in the first bucket whose upper bound it does not exceed.

    Memory is bounded, and an observation takes some hundred nanoseconds. One thread observes; any thread may read.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds_s: Iterable[float]) -> None:
        """``bounds_s``: ascending upper bounds of the buckets, in seconds; one unbounded bucket follows them."""
        self._bounds = tuple(round(bound * NS_PER_S) for bound in bounds_s)
        if sorted(set(self._bounds)) != list(self._bounds):
            raise ValueError(f"bounds: expected ascending seconds, got {self._bounds} ns")
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0

    def observe(self, value_ns: int) -> None:
        """Count one duration, in nanoseconds."""
        self._counts[bisect_left(self._bounds, value_ns)] += 1
        self._sum += value_ns

    @property
    def sum_s(self) -> float:
        """Sum of all observed durations, in seconds."""
        return self._sum / NS_PER_S

    def cumulative(self) -> list[tuple[float, int]]:
        """Return each upper bound (seconds, the last infinite) with the number of values that do not exceed it.

        These are the cumulative counts that Prometheus expects.
        """
        total, found = 0, []
        bounds = (*(bound / NS_PER_S for bound in self._bounds), float("inf"))
        for bound, count in zip(bounds, self._counts.copy(), strict=True):
            total += count
            found.append((bound, total))
        return found


class RunningMedianLag:
    """Median lag (receive time − event time) of the last ``window`` messages of one venue (S7).

    The clock rule. A message cannot arrive before it was sent, so a *negative* median proves that
    the clocks disagree by at least that much. The lag is then taken relative to the median; otherwise
    data that is seconds late would look fresh. A *positive* median may be distance, a slow venue or our
    clock running ahead, and these cannot be distinguished. The lag then counts in full, because
    trading on stale data is worse than not trading (L2).
    """

    def __init__(self, window: int = WINDOW, min_samples: int = MIN_SAMPLES) -> None:
        if not 1 <= min_samples <= window:
            raise ValueError(f"expected 1 <= min_samples <= window, got {min_samples} and {window}")
        self._window = window
        self._min_samples = min_samples
        self._arrived: deque[int] = deque()
        self._sorted: list[int] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def observe(self, lag_ns: int) -> None:
        """Add one lag, in nanoseconds; a full window drops its oldest lag."""
        if len(self._arrived) == self._window:
            oldest = self._arrived.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
        self._arrived.append(lag_ns)
        insort(self._sorted, lag_ns)

    @property
    def median_ns(self) -> int | None:
        """The median (the lower of two middle values), or None before ``min_samples`` lags."""
        return self.quantile_ns(0.5)

    def quantile_ns(self, share: float) -> int | None:
        """Return the lag that a share (0 … 1) of the window does not exceed, or None before ``min_samples`` lags."""
        return None if len(self._sorted) < self._min_samples else quantile(self._sorted, share)

    @property
    def clocks_disagree(self) -> bool:
        """Whether the median proves that our clock is behind the venue's."""
        median = self.median_ns
        return median is not None and median < 0

    def staleness_ns(self, lag_ns: int) -> int:
        """Return the age (at least 0) to count for data with this lag: relative where the clocks disagree."""
        median = self.median_ns
        return max(0, lag_ns - median if median is not None and median < 0 else lag_ns)
