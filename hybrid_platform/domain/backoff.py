"""Exponential backoff: the wait before each retry of something that failed. Pure; seconds."""

from __future__ import annotations

from math import inf
from random import Random

_MAX_DOUBLINGS = 64
"""Beyond this, any first wait exceeds any maximum, and a float would overflow."""


def backoff_s(failures: int, first_s: float, max_s: float = inf) -> float:
    """Return the wait after some failures in a row: ``first_s``, doubled for each further one, up to ``max_s``."""
    return float(min(max_s, first_s * 2.0 ** min(max(0, failures - 1), _MAX_DOUBLINGS)))


class JitteredBackoff:
    """Count of failures in a row, and a random wait after each: uniform between 0 and `backoff_s` (S3, S4).

    This "full jitter" keeps many clients of one venue from reconnecting at the same time:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    def __init__(self, first_s: float, max_s: float, random: Random) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._random = random
        self.failures = 0
        """Failures in a row."""

    def limit_s(self) -> float:
        """Return the longest possible wait after the failures so far."""
        return backoff_s(self.failures, self._first_s, self._max_s)

    def next_wait_s(self) -> float:
        """Count one more failure and return how long to wait."""
        self.failures += 1
        return self._random.uniform(0.0, self.limit_s())

    def reset(self) -> None:
        """Forget the failures; the next one counts as the first."""
        self.failures = 0
