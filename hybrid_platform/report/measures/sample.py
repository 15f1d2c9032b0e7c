"""Quantiles of however many values in bounded memory: exact up to a limit, of every second, fourth … one beyond it."""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt

from hybrid_platform.domain.statistics import quantile
from hybrid_platform.report.measures.records import Quantiles

Floats = npt.NDArray[np.float64]
MOST_HELD = 131_072


def quantiles_of(values: Floats) -> Quantiles | None:
    """Return p50, p95, p99 (the nearest value at or below), mean and maximum; None where there is none."""
    if not len(values):
        return None
    ordered = np.sort(values)
    p50, p95, p99, highest = (quantile(ordered.tolist(), share) for share in (0.5, 0.95, 0.99, 1.0))
    return Quantiles(len(ordered), float(ordered.mean()), p50, p95, p99, highest)


class Sample:
    """Takes values one by one; count, mean and maximum are of all of them, whatever is held."""

    def __init__(self, most_held: int = MOST_HELD) -> None:
        self._limit = most_held
        self._held = array("d")
        self.every = 1
        """Every so many-th value is held."""
        self.count = 0
        self._total = 0.0
        self._most = float("-inf")

    def add(self, value: float) -> None:
        """Take one more."""
        if self.count % self.every == 0:
            self._held.append(value)
            if len(self._held) > self._limit:
                self._held = self._held[::2]
                self.every *= 2
        self.count += 1
        self._total += value
        self._most = max(self._most, value)

    @property
    def values(self) -> Floats:
        """What is held, in the order in which it came."""
        return np.array(self._held)

    def quantiles(self) -> Quantiles | None:
        """Return p50, p95, p99 of what is held, and count, mean and maximum of all; None where there is none."""
        found = quantiles_of(self.values)
        if found is None:
            return None
        return Quantiles(self.count, self._total / self.count, found.p50, found.p95, found.p99, self._most)
