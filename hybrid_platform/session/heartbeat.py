"""Heartbeats on the monotonic clock: one at the start, then every interval; late and missing ones counted (G4)."""

from __future__ import annotations

from typing import NamedTuple

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S


class DueHeartbeat(NamedTuple):
    """One heartbeat that is due now."""

    n: int
    late_ms: int
    is_late: bool


class Heartbeats:
    """The schedule of heartbeats; owned by the supervisor."""

    def __init__(self, interval_seconds: float, late_seconds: float) -> None:
        self._interval = int(interval_seconds * NS_PER_S)
        self._late = int(late_seconds * NS_PER_S)
        self._started: int | None = None
        self._next = 0
        self.late = 0
        self.skipped = 0
        """Heartbeats that never came because the supervisor missed a whole interval."""
        self.longest_late_ms = 0

    @property
    def count(self) -> int:
        """How many heartbeats there were."""
        return self._next - self.skipped

    def due(self, now: int) -> DueHeartbeat | None:
        """Return the heartbeat that is due at a monotonic instant, or None."""
        if self._started is None:
            self._started = now
        since = now - (self._started + self._next * self._interval)
        if since < 0:
            return None
        # If whole intervals were missed, only the latest due heartbeat is sent.
        skipped, late = divmod(since, self._interval)
        self.skipped += skipped
        n = self._next + skipped
        self._next = n + 1
        is_late = late > self._late
        self.late += is_late
        self.longest_late_ms = max(self.longest_late_ms, since // NS_PER_MS)
        return DueHeartbeat(n, late // NS_PER_MS, is_late)

    def missing(self, end: int) -> int:
        """Return how many heartbeats are missing at the end of the session (monotonic instant)."""
        if self._started is None:
            return 1
        expected = max(0, end - self._late - self._started) // self._interval + 1
        return self.skipped + max(0, expected - self._next)
