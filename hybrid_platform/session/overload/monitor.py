"""The overload monitor of a live session, which drives the throttle ladder (S15).

in: CPU pressure, tick and persist channel and ingest's lag, polled about once a second by the supervising
thread · out: the sampling rate of ingest, a log line per step (kept by the event chain) and figures for the
evidence; after too long at the highest level one `OverloadError`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from hybrid_platform.domain.clocks import NS_PER_S, Clock, iso_utc
from hybrid_platform.domain.errors import OverloadError
from hybrid_platform.domain.log import Log
from hybrid_platform.domain.records import CpuPressure
from hybrid_platform.evidence.records import LadderStep, OverloadFigures
from hybrid_platform.host.pressure import OFF_LIMIT
from hybrid_platform.log.events import LogEvent
from hybrid_platform.observability.counters import FeedCounters
from hybrid_platform.observability.session_view import ChannelStats
from hybrid_platform.session.overload.ladder import LagBaseline, LevelChange, Load, LoadLimits, ThrottleLadder
from hybrid_platform.session.overload.sampling import Sampler
from hybrid_platform.session.stage import OnFailure
from hybrid_platform.settings.session import SessionSettings

PRESSURE_LIMIT = 60.0
FULL = 100.0
RATE_POLLS = 6
MAX_STEPS = 1_000
"""Steps kept for the evidence; the log has them all."""
_POLL_INTERVAL_S = (0.1, 1.0)
"""Minimum and maximum; the kernel renews avg10 every two seconds."""


def can_throttle(settings: SessionSettings) -> bool:
    """Return whether the feed can be throttled: not a replay, and not a feed that runs at full speed."""
    synthetic = settings.feed.synthetic
    return settings.is_live_feed and not (synthetic is not None and synthetic.ticks_per_second == "max")


def build_limits(settings: SessionSettings) -> LoadLimits:
    """Return the limits of the load."""
    overload = settings.overload
    pressure = overload.pressure_limit
    if pressure is None:
        pressure = OFF_LIMIT if settings.gates.cpu_pressure_limit >= OFF_LIMIT else PRESSURE_LIMIT
    return LoadLimits(
        None if pressure >= OFF_LIMIT else pressure,
        None if overload.queue_limit > FULL else overload.queue_limit,
        overload.lag_limit_ms,
        overload.recover_share,
    )


class OverloadMonitor:
    """Polled by the supervising thread; `figures` is read after the session has ended."""

    def __init__(
        self,
        settings: SessionSettings,
        sampler: Sampler,
        *,
        read_pressure: Callable[[], CpuPressure],
        channels: Callable[[], Sequence[ChannelStats]],
        counters: FeedCounters,
        clock: Clock,
        log: Log,
        on_failure: OnFailure,
    ) -> None:
        """``channels`` returns the channels whose depth counts."""
        self._settings = settings.overload
        self._sampler = sampler
        self._read_pressure = read_pressure
        self._channels = channels
        self._counters = counters
        self._clock = clock
        self._log = log
        self._on_failure = on_failure
        self._limits = build_limits(settings)
        holds = min(self._settings.step_up_seconds, self._settings.step_down_seconds)
        self._poll_interval_ns = int(min(max(holds / 4, _POLL_INTERVAL_S[0]), _POLL_INTERVAL_S[1]) * NS_PER_S)
        self._started = self._last = clock.monotonic_ns()
        self._ladder = ThrottleLadder(self._settings, self._started)
        self._lag_baseline = LagBaseline()
        self._lag_seen = 0
        self._received = deque([(self._started, 0)], RATE_POLLS)
        self._dropped = 0
        self._readings = 0
        self._source = ""
        self._most = Load(0.0, 0.0, 0.0)
        self._pressure_sum = 0.0
        self._above_since: int | None = None
        self._above = self._longest = self._exempt = 0
        self._steps: list[LadderStep] = []
        self._stepped = 0
        self._stopped = False

    @property
    def sample_every(self) -> int:
        """The level of the ladder: every n-th tick passes."""
        return self._ladder.sample_every

    def poll(self) -> None:
        """Take a reading if one is due, and act on it."""
        now = self._clock.monotonic_ns()
        if now - self._last < self._poll_interval_ns or self._stopped:
            return
        load, is_fast = self._load(now), self._is_fast(now)
        high = self._limits.describe_high(load)
        self._record(now, load, bool(high), is_fast)
        self._last = now
        if not self._settings.sample:
            return
        # Sampling a slow feed frees nothing, so a slow feed counts as calm and the ladder goes down again.
        is_high, is_low = bool(high) and is_fast, self._limits.is_low(load) or not is_fast
        step = self._ladder.observe(now, is_high=is_high, is_low=is_low)
        if step is not None:
            self._sampler.every = step.after
            self._log_step(now, step, load, high or ("all well below the limits" if is_fast else "the feed is slow"))
        held_s = self._ladder.overloaded_s()
        if held_s is not None:
            self._stopped = True
            self._on_failure("overload", self._error(held_s, high))

    def figures(self, ended: int) -> OverloadFigures:
        """Return what was measured and done; ``ended`` is the monotonic instant of the session's end."""
        limits, settings = self._limits, self._settings
        return OverloadFigures(
            source=self._source,
            sample=settings.sample,
            pressure_limit=limits.pressure,
            queue_limit=limits.queue,
            lag_limit_ms=limits.lag_ms,
            step_up_s=settings.step_up_seconds,
            readings=self._readings,
            max_pressure=self._most.pressure,
            mean_pressure=round(self._pressure_sum / self._readings, 2) if self._readings else 0.0,
            max_queue=round(self._most.queue, 1),
            max_lag_ms=round(self._most.lag_ms, 1),
            above_s=round(self._above / NS_PER_S, 3),
            longest_above_s=round(self._longest / NS_PER_S, 3),
            exempt_s=round(self._exempt / NS_PER_S, 3),
            stepped=self._stepped,
            steps=tuple(self._steps),
            seconds_at={str(level): round(spent, 3) for level, spent in self._ladder.seconds_at(ended).items()},
            sampled_out={str(level): count for level, count in sorted(self._sampler.sampled_out.items())},
            stopped=self._stopped,
        )

    def _load(self, now: int) -> Load:
        reading = self._read_pressure()
        self._source = reading.source.value
        stats = self._channels()
        dropped = sum(channel.dropped for channel in stats)
        queue = max(min(FULL, 100 * channel.depth / channel.capacity) for channel in stats)
        if dropped > self._dropped:
            self._dropped, queue = dropped, FULL
        return Load(reading.percent, queue, self._lag_ms(now))

    def _lag_ms(self, now: int) -> float:
        """Return the backlog; 0 if nothing was received since the last poll."""
        received, lags = self._counters.received, self._counters.lag_ns
        if received == self._lag_seen or not lags:
            return 0.0
        self._lag_seen = received
        return self._lag_baseline.observe(now, lags[-1])

    def _is_fast(self, now: int) -> bool:
        self._received.append((now, self._counters.received))
        (began, before), (_, received) = self._received[0], self._received[-1]
        least = self._settings.min_ticks_per_second
        return (received - before) * NS_PER_S >= least * (now - began)

    def _record(self, now: int, load: Load, is_high: bool, is_fast: bool) -> None:
        self._readings += 1
        self._pressure_sum += load.pressure
        self._most = Load(*map(max, self._most, load))
        if not is_high:
            self._above_since = None
            return
        passed = now - self._last
        self._above_since = self._last if self._above_since is None else self._above_since
        self._above += passed
        self._longest = max(self._longest, now - self._above_since)
        self._exempt += 0 if is_fast else passed

    def _log_step(self, now: int, change: LevelChange, load: Load, why: str) -> None:
        self._stepped += 1
        step = LadderStep(
            at=iso_utc(self._clock.wall_ns()),
            elapsed_s=round((now - self._started) / NS_PER_S, 3),
            before=change.before,
            after=change.after,
            why=why,
            held_s=round(change.held_s, 3),
            cpu_pressure=load.pressure,
            queue_percent=round(load.queue, 1),
            lag_ms=round(load.lag_ms, 1),
        )
        if len(self._steps) < MAX_STEPS:
            self._steps.append(step)
        log = self._log.warning if step.after > step.before else self._log.info
        log(
            LogEvent.LADDER_STEPPED,
            sample_every=step.after,
            before=step.before,
            why=why,
            held_s=step.held_s,
            pressure=step.cpu_pressure,
            queue_percent=step.queue_percent,
            lag_ms=step.lag_ms,
        )

    def _error(self, held_s: float, high: str) -> OverloadError:
        return OverloadError(
            f"expected the load to fall below its limits at the top of the throttle ladder (every"
            f" {self.sample_every}th tick) within {self._settings.stop_seconds:g} s, got above them for {held_s:.1f} s:"
            f" {high}. Give the machine room, subscribe to less, or raise overload.*, then start again"
        )
