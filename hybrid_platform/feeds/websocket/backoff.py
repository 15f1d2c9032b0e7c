"""When to try again: exponential backoff with full jitter, and when to give up (S3, S4).

Full jitter (a wait uniform in 0 … limit) keeps many clients of one venue from coming back in step:
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

from random import Random


class Backoff:
    """Counts failures in a row and says how long to wait after each; seconds."""

    def __init__(self, initial_s: float, maximum_s: float, random: Random) -> None:
        self._initial_s = initial_s
        self._maximum_s = maximum_s
        self._random = random
        self.failures = 0
        """In a row."""

    def limit_s(self) -> float:
        """Return the longest wait after as many failures: initial, doubled each time, up to the maximum."""
        doublings = max(0, self.failures - 1)
        # Beyond that many doublings any initial wait is past any maximum, and floats would overflow.
        return min(self._maximum_s, self._initial_s * 2.0 ** min(doublings, 64))

    def failed(self) -> float:
        """Note one more failure and return how long to wait."""
        self.failures += 1
        return self._random.uniform(0.0, self.limit_s())

    def succeeded(self) -> None:
        """Forget the failures: what comes next is a first one."""
        self.failures = 0
