"""A clock that only moves when a test advances it."""

from __future__ import annotations

from hybrid_platform.domain.clocks import NS_PER_S

START_NS = 1_700_000_000 * NS_PER_S


class TestClock:
    """A `Clock` for tests; both times in nanoseconds."""

    __test__ = False
    """Keeps pytest from collecting this class."""

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
        """Advance both clocks; raise ValueError for negative seconds."""
        if seconds < 0:
            raise ValueError(f"expected seconds >= 0, got {seconds}")
        self._wall_ns += round(seconds * NS_PER_S)
        self._monotonic_ns += round(seconds * NS_PER_S)

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock forward or back, as a time service may; the monotonic clock does not change."""
        self._wall_ns += round(seconds * NS_PER_S)
