"""Clocks are passed in. Nothing pure calls ``time.time()``.

Monotonic for durations, wall for sessions and logs; the *session clock* that strategy, risk and
execution see is not here: it is the time of the last recorded input.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Clock(Protocol):
    """Both clocks of a host, in integer nanoseconds."""

    def monotonic_ns(self) -> int:
        """Return a time that never goes back; only differences mean something."""

    def wall_ns(self) -> int:
        """Return nanoseconds since the Unix epoch, UTC; may be stepped by the host."""


class SystemClock:
    """The host's clocks."""

    def monotonic_ns(self) -> int:
        """Return the host's monotonic clock."""
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        """Return the host's wall clock."""
        return time.time_ns()


class Stopper(Protocol):
    """How somebody is told to end, and the only thing to wait on (``threading.Event`` fits)."""

    def is_set(self) -> bool:
        """Return whether to end."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until told to end or for ``timeout`` seconds; return whether told to end."""


def iso_utc(ts_ns: int) -> str:
    """Return ISO 8601, UTC, with microseconds: ``2026-01-02T03:04:05.000006Z``."""
    seconds, rest = divmod(ts_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"
