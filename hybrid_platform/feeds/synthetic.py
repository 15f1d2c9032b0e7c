"""A random walk determined by its seed alone: the feed of the reference run, and load at any rate.

in: a seed, a rate and the injected clock · out: tick k at start + k / rate, for k = 0 … ⌊rate × seconds⌋. A process
that was delayed still emits every tick that is due (docs/contract.md). Prices always stay positive.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from hybrid_platform.domain.clocks import NS_PER_S, Clock, Stopper
from hybrid_platform.domain.decimals import to_units
from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.domain.ticks import Int64s, TickBatch
from hybrid_platform.feeds.base import FeedBatch
from hybrid_platform.feeds.pacing import MAX_BATCH_TICKS
from hybrid_platform.settings.feeds import SyntheticFeed

VENUE = "SYNTHETIC"
_MAX_WAIT_S = 1.0


class RandomWalkFeed:
    """The `Feed` named ``synthetic``."""

    name = "synthetic"

    def __init__(self, settings: SyntheticFeed, table: InstrumentTable, clock: Clock, seconds: float | None) -> None:
        self._settings = settings
        self._table = table
        self._clock = clock
        self._seconds = seconds

    def open(self) -> None:
        """Create the instruments; raise ConfigError if the start price does not fit them."""
        self._ticks = _RandomWalk(self._settings, self._table)

    def batches(self, stop: Stopper) -> Iterator[FeedBatch]:
        """Yield due ticks until the last one; after ``stop``, at most one batch of the ticks due at that moment."""
        rate = self._settings.ticks_per_second
        if rate == "max":
            return self._unpaced(stop)
        return self._paced(Fraction(repr(rate)), stop)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _paced(self, rate: Fraction, stop: Stopper) -> Iterator[FeedBatch]:
        last = self._settings.ticks
        if self._seconds is not None:
            in_time = int(rate * Fraction(repr(self._seconds))) + 1
            last = in_time if last is None else min(last, in_time)
        ticks_per, per_ns = rate.numerator, rate.denominator * NS_PER_S
        start_ns, start_wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        sent = 0
        while last is None or sent < last:
            stopping = stop.is_set()
            elapsed = self._clock.monotonic_ns() - start_ns
            due = elapsed * ticks_per // per_ns + 1
            due = due if last is None else min(due, last)
            if due > sent:
                ticks = self._ticks.next(min(due - sent, MAX_BATCH_TICKS))
                at = [-(-k * per_ns // ticks_per) for k in range(sent, sent + len(ticks))]
                yield _stamp(ticks, start_wall_ns + np.array(at, np.int64))
                sent += len(ticks)
            elif not stopping:
                next_at = -(-sent * per_ns // ticks_per)
                stop.wait(min((next_at - elapsed) / NS_PER_S, _MAX_WAIT_S))
            if stopping:
                return

    def _unpaced(self, stop: Stopper) -> Iterator[FeedBatch]:
        remaining = self._settings.ticks
        start_ns, start_wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        while not stop.is_set() and remaining != 0:
            elapsed = self._clock.monotonic_ns() - start_ns
            if self._seconds is not None and elapsed >= self._seconds * NS_PER_S:
                return
            ticks = self._ticks.next(MAX_BATCH_TICKS if remaining is None else min(remaining, MAX_BATCH_TICKS))
            remaining = None if remaining is None else remaining - len(ticks)
            yield _stamp(ticks, np.full(len(ticks), start_wall_ns + elapsed, np.int64))


def _stamp(ticks: TickBatch, ts_event: Int64s) -> FeedBatch:
    ticks.ts_event = ts_event
    return FeedBatch(ticks, len(ticks))


class _RandomWalk:
    """Walk of all symbols: one random word decides a tick's symbol, step, size and side, whatever the batching.

    Each symbol walks up to three increments at a time, reflected at half and at twice its start price.
    """

    def __init__(self, settings: SyntheticFeed, table: InstrumentTable) -> None:
        self._table = table
        # NumPy guarantees a stable raw stream for PCG64, but not for the distributions derived from it.
        self._random = np.random.PCG64(settings.seed)
        self._indices = np.array([table.intern(VENUE, symbol) for symbol in settings.symbols], np.int64)
        instruments = [table[index] for index in self._indices.tolist()]
        grids = [_price_grid(settings, instrument) for instrument in instruments]
        self._increment, self._start = np.array(grids, np.int64).T
        self._lot = np.array([_size_step(instrument) for instrument in instruments], np.int64)
        self._positions = np.zeros(len(instruments), np.int64)
        self._pending = self._generate()

    def next(self, count: int) -> TickBatch:
        """Return the next ``count`` ticks or fewer, at least one, without times."""
        if not len(self._pending):
            self._pending = self._generate()
        ticks, self._pending = self._pending[:count], self._pending[count:]
        return ticks

    def _generate(self) -> TickBatch:
        words = self._random.random_raw(MAX_BATCH_TICKS)
        step, lots, side, symbol = words.astype("<u8").view("<u2").reshape(-1, 4).astype(np.int64).T
        which = symbol * len(self._indices) >> 16
        price = self._reflect(which, self._walk(which, step % 7 - 3)) * self._increment[which]
        size = (lots % 1000 + 1) * self._lot[which]
        aggressor = ((side & 1) * 2 - 1).astype(np.int8)
        none = np.zeros(MAX_BATCH_TICKS, np.int64)
        return TickBatch(self._table, none, self._indices[which], price, size, aggressor, None, none, none)

    def _walk(self, which: Int64s, steps: Int64s) -> Int64s:
        """Return the position of each tick's symbol in increments, and remember the last one of every symbol."""
        order = np.argsort(which, kind="stable")
        symbols, walked = which[order], np.cumsum(steps[order])
        first = np.flatnonzero(np.diff(symbols, prepend=-1))
        last = np.append(first[1:], len(symbols)) - 1
        before = np.append(0, walked[last[:-1]])
        walked += np.repeat(self._positions[symbols[first]] - before, last - first + 1)
        self._positions[symbols[first]] = walked[last]
        result = np.empty_like(walked)
        result[order] = walked
        return result

    def _reflect(self, which: Int64s, walked: Int64s) -> Int64s:
        lowest = np.maximum(self._start // 2, 1)[which]
        span = 2 * self._start[which] - lowest
        along = (self._start[which] - lowest + walked) % (2 * span)
        price: Int64s = lowest + np.minimum(along, 2 * span - along)
        return price


def _price_grid(settings: SyntheticFeed, instrument: Instrument) -> tuple[int, int]:
    """Return the price increment in the instrument's units, and the start price in increments."""
    scale = instrument.price_scale
    try:
        start = to_units(settings.start_price, scale)
        to_units(settings.start_price * 4, scale)
        stated = instrument.price_increment
        increment = 10 ** max(scale - 2, 0) if stated is None else to_units(stated, scale)
    except ValueError as error:
        expected = str(error).removeprefix("expected ").split(", got ")[0]
        raise ConfigError([Fault("feed.synthetic.start_price", expected, str(settings.start_price))]) from None
    while instrument.price_increment is None and increment > 1 and (start % increment or start < 1000 * increment):
        increment //= 10
    return increment, max(start // increment, 1)


def _size_step(instrument: Instrument) -> int:
    """Return the size increment in the instrument's units: the configured one, else 0.01."""
    if instrument.size_increment is not None:
        return to_units(instrument.size_increment, instrument.size_scale)
    return int(10 ** max(instrument.size_scale - 2, 0))
