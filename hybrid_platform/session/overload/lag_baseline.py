"""How far ingest has fallen behind, out of lags that hold distance and the disagreement of two clocks as well.

in: receive time - event time, now and then · out: what of it is backlog. Pure.
"""

from __future__ import annotations

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S

TOLERANCE_NS = NS_PER_S
"""Of a venue's own jitter."""


class LagBaseline:
    """The lag above the least one seen.

    Whoever has fallen behind falls further by at most a second a second. A lag that grows faster is a
    clock that was stepped, and moves what it is measured against.
    """

    def __init__(self) -> None:
        self._least: int | None = None
        self._last = self._at = 0

    def observe(self, now: int, lag_ns: int) -> float:
        """Take a lag at a monotonic instant; return the backlog in milliseconds."""
        if self._least is None:
            self._least, self._last, self._at = lag_ns, lag_ns, now
        grown, passed = lag_ns - self._last, now - self._at
        if grown > passed + TOLERANCE_NS:
            self._least += grown
        self._least, self._last, self._at = min(self._least, lag_ns), lag_ns, now
        return (lag_ns - self._least) / NS_PER_MS
