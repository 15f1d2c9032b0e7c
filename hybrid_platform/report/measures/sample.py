"""Quantiles in bounded memory: exact up to a limit, beyond it from every second, fourth … value."""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt

from hybrid_platform.domain.statistics import quantile
from hybrid_platform.report.measures.records import Quantiles

Floats = npt.NDArray[np.float64]
MAX_HELD = 131_072


def compute_quantiles(values: Floats) -> Quantiles | None:
    """Return p50, p95, p99 (the lower of two values), mean and maximum, or None without values."""
    if not len(values):
        return None
    ordered = np.sort(values)
    p50, p95, p99, highest = (quantile(ordered.tolist(), share) for share in (0.5, 0.95, 0.99, 1.0))
    return Quantiles(len(ordered), float(ordered.mean()), p50, p95, p99, highest)


class Sample:
    """Sample of values that come one by one; count, mean and maximum cover all of them."""

    def __init__(self, max_held: int = MAX_HELD) -> None:
        self._limit = max_held
        self._held = array("d")
        self.every = 1
        """Every n-th value is held."""
        self.count = 0
        self._total = 0.0
        self._max = float("-inf")

    def add(self, value: float) -> None:
        """Add one value."""
        if self.count % self.every == 0:
            self._held.append(value)
            if len(self._held) > self._limit:
                self._held = self._held[::2]
                self.every *= 2
        self.count += 1
        self._total += value
        self._max = max(self._max, value)

    @property
    def values(self) -> Floats:
        """The held values, in order of arrival."""
        return np.array(self._held)

    def quantiles(self) -> Quantiles | None:
        """Return p50, p95, p99 of the held values, and count, mean and maximum of all; None without values."""
        found = compute_quantiles(self.values)
        if found is None:
            return None
        return Quantiles(self.count, self._total / self.count, found.p50, found.p95, found.p99, self._max)
