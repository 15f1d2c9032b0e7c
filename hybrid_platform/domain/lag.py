"""How late a venue's data is where its clock and ours may disagree (S7).

in: one lag (receive time - event time) per message · out: the running median and a lag that a
staleness limit can be held against. Pure: the same lags give the same answers, live and in replay.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

WINDOW = 512
"""Messages the median runs over: long enough to ignore a burst, short enough to follow a clock step."""
MIN_SAMPLES = 20


class RunningMedianLag:
    """The median lag of one venue's last ``window`` messages.

    The clock rule. A message cannot arrive before it was sent, so a *negative* median proves that
    the clocks disagree by at least that much: then lag is taken relative to the median, or data
    that is seconds late would look fresh. A *positive* median may be distance, a slow venue or our
    clock running ahead, and nothing here can tell which: then the lag counts in full, because
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
        """Take one lag, nanoseconds; the oldest one leaves a full window."""
        if len(self._arrived) == self._window:
            oldest = self._arrived.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
        self._arrived.append(lag_ns)
        insort(self._sorted, lag_ns)

    @property
    def median_ns(self) -> int | None:
        """The median (the lower one of two), or None before ``min_samples`` lags."""
        return self.quantile_ns(0.5)

    def quantile_ns(self, q: float) -> int | None:
        """The lag that a share ``q`` (0 … 1) of the window does not exceed; None as for the median."""
        if len(self._sorted) < self._min_samples:
            return None
        return self._sorted[min(len(self._sorted) - 1, int(q * (len(self._sorted) - 1)))]

    @property
    def clocks_disagree(self) -> bool:
        """Whether the median proves that ours is behind the venue's clock."""
        median = self.median_ns
        return median is not None and median < 0

    def staleness_ns(self, lag_ns: int) -> int:
        """Return how old data with this lag is to be counted, at least 0: relative where clocks disagree."""
        median = self.median_ns
        return max(0, lag_ns - median if median is not None and median < 0 else lag_ns)
