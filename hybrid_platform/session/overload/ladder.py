"""The sampling ladder: every tick, every 2nd, 5th, 10th; one rung at a time, up under load and down after it (S15).

in: at each look, what is at or above its limit and whether everything is well below · out: steps, and the
time spent on each rung. Pure: the clock's readings are given to it.
"""

from __future__ import annotations

from typing import NamedTuple

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.settings.runtime import OverloadSettings

LEVELS = (1, 2, 5, 10)


class Load(NamedTuple):
    """How busy the host and the pipeline are at one look."""

    pressure: float
    """CPU, percent."""
    queue: float
    """The fuller of the tick and the persist channel, percent of its capacity; 100 where it dropped since the last."""
    lag_ms: float
    """How far ingest is behind the least lag seen."""


class LoadLimits(NamedTuple):
    """What a load is held against; None: not at all."""

    pressure: float | None
    queue: float | None
    lag_ms: float | None
    recover_share: float

    def high(self, load: Load) -> str:
        """Return what is at or above its limit, with the figures; empty where nothing is."""
        found = [
            f"{name} {figure:.3g}{unit}, limit {limit:g}{unit}"
            for name, unit, figure, limit in self._held(load)
            if figure >= limit
        ]
        return "; ".join(found)

    def is_low(self, load: Load) -> bool:
        """Return whether everything is below its share of the limit."""
        return all(figure < limit * self.recover_share for _, _, figure, limit in self._held(load))

    def _held(self, load: Load) -> list[tuple[str, str, float, float]]:
        held = (
            ("CPU pressure", " %", load.pressure, self.pressure),
            ("queue", " %", load.queue, self.queue),
            ("lag", " ms", load.lag_ms, self.lag_ms),
        )
        return [(name, unit, figure, limit) for name, unit, figure, limit in held if limit is not None]


class LevelChange(NamedTuple):
    """From one rung to the next; both as "every n-th tick"."""

    before: int
    after: int
    held_s: float
    """How long the cause had held."""


class ThrottleLadder:
    """Owned by one thread, which tells it the time (monotonic nanoseconds)."""

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
        """Every n-th tick is let through."""
        return LEVELS[self._level]

    @property
    def is_at_top(self) -> bool:
        """Whether there is no further step up."""
        return self._level == len(LEVELS) - 1

    def observe(self, now: int, *, is_high: bool, is_low: bool) -> LevelChange | None:
        """Take one look; return the step that follows from it. Each step needs its whole time anew."""
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
        """Return for how long the load has been high at the top, once that is too long."""
        if not self.is_at_top or self._high_since is None or self._stop is None:
            return None
        held = self._last - self._high_since
        return held / NS_PER_S if held >= self._stop else None

    def seconds_at(self, until: int) -> dict[int, float]:
        """Return the time spent on each rung up to an instant after the last look."""
        rest = {self.sample_every: until - self._last}
        return {level: (spent + rest.get(level, 0)) / NS_PER_S for level, spent in self._spent.items()}

    def _step(self, by: int, now: int, held: int) -> LevelChange:
        before = self.sample_every
        self._level += by
        self._high_since = now if by > 0 else None
        self._low_since = now if by < 0 else None
        return LevelChange(before, self.sample_every, held / NS_PER_S)
