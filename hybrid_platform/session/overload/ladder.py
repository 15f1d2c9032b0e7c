"""The throttle ladder: every tick, every 2nd, 5th or 10th; one level at a time, up under load and down after it (S15).

in: at each poll, the load and its limits · out: changes of level, and the time spent on each. Pure: the time is
passed in.
"""

from __future__ import annotations

from typing import NamedTuple

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S
from hybrid_platform.settings.runtime import OverloadSettings

LEVELS = (1, 2, 5, 10)


class Load(NamedTuple):
    """How busy host and pipeline are at one poll."""

    pressure: float
    """CPU pressure, percent."""
    queue: float
    """Occupancy of the fuller of the channels tick and persist, in percent; 100 if events were dropped since."""
    lag_ms: float
    """How far ingest lags behind the least lag seen."""


class LoadLimits(NamedTuple):
    """Limits of the load; None switches a limit off."""

    pressure: float | None
    queue: float | None
    lag_ms: float | None
    recover_share: float

    def describe_high(self, load: Load) -> str:
        """Return the figures that are at or above their limits, as text; empty if none is."""
        found = [
            f"{name} {figure:.3g}{unit}, limit {limit:g}{unit}"
            for name, unit, figure, limit in self._limited(load)
            if figure >= limit
        ]
        return "; ".join(found)

    def is_low(self, load: Load) -> bool:
        """Return whether every figure is below the recovery share of its limit."""
        return all(figure < limit * self.recover_share for _, _, figure, limit in self._limited(load))

    def _limited(self, load: Load) -> list[tuple[str, str, float, float]]:
        figures = (
            ("CPU pressure", " %", load.pressure, self.pressure),
            ("queue", " %", load.queue, self.queue),
            ("lag", " ms", load.lag_ms, self.lag_ms),
        )
        return [(name, unit, figure, limit) for name, unit, figure, limit in figures if limit is not None]


class LevelChange(NamedTuple):
    """A change from one level to the next; both as "every n-th tick"."""

    before: int
    after: int
    held_s: float
    """How long its cause had lasted."""


class ThrottleLadder:
    """The level of sampling and its history; owned by one thread, which passes the monotonic time in."""

    def __init__(self, settings: OverloadSettings, started: int) -> None:
        self._up, self._down = (
            int(seconds * NS_PER_S) for seconds in (settings.step_up_seconds, settings.step_down_seconds)
        )
        self._stop = None if settings.stop_seconds is None else int(settings.stop_seconds * NS_PER_S)
        self._level = 0
        self._high_since: int | None = None
        self._low_since: int | None = None
        self._last = started
        self._spent = dict.fromkeys(LEVELS, 0)

    @property
    def sample_every(self) -> int:
        """Every n-th tick passes."""
        return LEVELS[self._level]

    @property
    def is_at_top(self) -> bool:
        """Whether the highest level is reached."""
        return self._level == len(LEVELS) - 1

    def observe(self, now: int, *, is_high: bool, is_low: bool) -> LevelChange | None:
        """Update with one poll; return the change that follows, if any. Each change needs its full time again."""
        self._spent[self.sample_every] += now - self._last
        self._last = now
        self._high_since = (now if self._high_since is None else self._high_since) if is_high else None
        self._low_since = (now if self._low_since is None else self._low_since) if is_low and not is_high else None
        if self._high_since is not None and not self.is_at_top and now - self._high_since >= self._up:
            return self._step(1, now, now - self._high_since)
        if self._low_since is not None and self._level and now - self._low_since >= self._down:
            return self._step(-1, now, now - self._low_since)
        return None

    def overloaded_s(self) -> float | None:
        """Return how long the load has been high at the highest level, once that is too long."""
        if not self.is_at_top or self._high_since is None or self._stop is None:
            return None
        held = self._last - self._high_since
        return held / NS_PER_S if held >= self._stop else None

    def seconds_at(self, until: int) -> dict[int, float]:
        """Return the time spent on each level up to an instant after the last poll."""
        rest = {self.sample_every: until - self._last}
        return {level: (spent + rest.get(level, 0)) / NS_PER_S for level, spent in self._spent.items()}

    def _step(self, by: int, now: int, held: int) -> LevelChange:
        before = self.sample_every
        self._level += by
        self._high_since = now if by > 0 else None
        self._low_since = now if by < 0 else None
        return LevelChange(before, self.sample_every, held / NS_PER_S)


LAG_TOLERANCE_NS = NS_PER_S
"""Allowance for a venue's own jitter."""


class LagBaseline:
    """Separates backlog from the constant part of a lag: distance and the disagreement of two clocks.

    The backlog is the lag above the least one seen. A feed that falls behind does so by at most a second per
    second. A lag that grows faster is a clock that was stepped, and moves the baseline.
    """

    def __init__(self) -> None:
        self._least: int | None = None
        self._last = self._at = 0

    def observe(self, now: int, lag_ns: int) -> float:
        """Return the backlog in ms, given the lag (receive time minus event time) at a monotonic instant."""
        if self._least is None:
            self._least, self._last, self._at = lag_ns, lag_ns, now
        grown, passed = lag_ns - self._last, now - self._at
        if grown > passed + LAG_TOLERANCE_NS:
            self._least += grown
        self._least, self._last, self._at = min(self._least, lag_ns), lag_ns, now
        return (lag_ns - self._least) / NS_PER_MS
