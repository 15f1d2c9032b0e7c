"""Clocks, which are always passed in: pure code never calls ``time.time()``.

The monotonic clock measures durations, the wall clock stamps sessions and logs. The *session clock* of strategy,
risk and execution is not defined here: it is the time of the last recorded input.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Clock(Protocol):
    """The two clocks of a host, in integer nanoseconds."""

    def monotonic_ns(self) -> int:
        """Return a time that never goes back; only differences are meaningful."""

    def wall_ns(self) -> int:
        """Return nanoseconds since the Unix epoch, UTC; the host may step it."""


class SystemClock:
    """The host's clocks."""

    def monotonic_ns(self) -> int:
        """Return the host's monotonic clock."""
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        """Return the host's wall clock."""
        return time.time_ns()


class Stopper(Protocol):
    """Stop request that can be waited for; ``threading.Event`` is one."""

    def is_set(self) -> bool:
        """Return whether a stop was requested."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a stop request, ``timeout`` seconds at most; return whether one was made."""


def iso_utc(ts_ns: int) -> str:
    """Return ISO 8601, UTC, with microseconds: ``2026-01-02T03:04:05.000006Z``."""
    seconds, rest = divmod(ts_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"
