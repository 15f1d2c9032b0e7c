"""A clock that stands still until it is told to move."""

from __future__ import annotations

from hybrid_platform.domain.clocks import NS_PER_S

START_NS = 1_700_000_000 * NS_PER_S


class TestClock:
    """A `Clock` for tests; both times in nanoseconds."""

    __test__ = False
    """pytest: this is no test."""

    def __init__(self, wall_ns: int = START_NS, monotonic_ns: int = 0) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns

    def monotonic_ns(self) -> int:
        """Return the monotonic time."""
        return self._monotonic_ns

    def wall_ns(self) -> int:
        """Return the wall time."""
        return self._wall_ns

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks; raises ValueError for less than none."""
        if seconds < 0:
            raise ValueError(f"expected seconds >= 0, got {seconds}")
        self._wall_ns += round(seconds * NS_PER_S)
        self._monotonic_ns += round(seconds * NS_PER_S)

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as a host's time service may; the monotonic one stays."""
        self._wall_ns += round(seconds * NS_PER_S)
