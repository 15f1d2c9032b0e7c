"""A random walk that follows from its seed alone: the reference run's feed, and load of any rate.

in: a seed, a rate and the injected clock · out: tick k at start + k / rate, for k = 0 … ⌊rate × seconds⌋,
all that are due, however late the process looks (SPEC 10). Prices stay positive for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from hybrid_platform.domain.clocks import NS_PER_S, Clock
from hybrid_platform.domain.decimals import to_units
from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.domain.ticks import Int64s, TickBatch
from hybrid_platform.feeds.base import FeedBatch, Stopper
from hybrid_platform.feeds.pacing import PORTION
from hybrid_platform.settings.feeds import SyntheticFeed

VENUE = "SYNTHETIC"
_LONGEST_WAIT = 1.0


class SyntheticTicks:
    """The synthetic feed."""

    name = "synthetic"

    def __init__(self, settings: SyntheticFeed, table: InstrumentTable, clock: Clock, seconds: float | None) -> None:
        self._settings = settings
        self._table = table
        self._clock = clock
        self._seconds = seconds

    def open(self) -> None:
        """Make the instruments; raise ConfigError where the start price does not fit them."""
        self._walk = _Walk(self._settings, self._table)

    def batches(self, stop: Stopper) -> Iterator[FeedBatch]:
        """Yield what is due until the last tick; after ``stop`` what is due at that moment, one portion at most."""
        rate = self._settings.ticks_per_second
        if rate == "max":
            return self._unpaced(stop)
        return self._paced(Fraction(repr(rate)), stop)

    def close(self) -> None:
        """There is nothing to release."""

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
                ticks = self._walk.next(min(due - sent, PORTION))
                at = [-(-k * per_ns // ticks_per) for k in range(sent, sent + len(ticks))]
                yield _at(ticks, start_wall_ns + np.array(at, np.int64))
                sent += len(ticks)
            elif not stopping:
                next_at = -(-sent * per_ns // ticks_per)
                stop.wait(min((next_at - elapsed) / NS_PER_S, _LONGEST_WAIT))
            if stopping:
                return

    def _unpaced(self, stop: Stopper) -> Iterator[FeedBatch]:
        left = self._settings.ticks
        start_ns, start_wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        while not stop.is_set() and left != 0:
            elapsed = self._clock.monotonic_ns() - start_ns
            if self._seconds is not None and elapsed >= self._seconds * NS_PER_S:
                return
            ticks = self._walk.next(PORTION if left is None else min(left, PORTION))
            left = None if left is None else left - len(ticks)
            yield _at(ticks, np.full(len(ticks), start_wall_ns + elapsed, np.int64))


def _at(ticks: TickBatch, ts_event: Int64s) -> FeedBatch:
    ticks.ts_event = ts_event
    return FeedBatch(ticks, len(ticks))


class _Walk:
    """One random word a tick decides its symbol, step, size and side: independent of rate and batching.

    Each symbol walks up to three increments at a time, reflected at half and at twice its start price.
    """

    def __init__(self, settings: SyntheticFeed, table: InstrumentTable) -> None:
        self._table = table
        # The raw stream of PCG64 is stable by NumPy's policy; the distributions made of it are not.
        self._random = np.random.PCG64(settings.seed)
        self._indices = np.array([table.intern(VENUE, symbol) for symbol in settings.symbols], np.int64)
        instruments = [table[index] for index in self._indices.tolist()]
        grids = [_price_grid(settings, instrument) for instrument in instruments]
        self._increment, self._start = np.array(grids, np.int64).T
        self._lot = np.array([_lot(instrument) for instrument in instruments], np.int64)
        self._walked = np.zeros(len(instruments), np.int64)
        self._made = self._make()

    def next(self, count: int) -> TickBatch:
        """Return the next ``count`` ticks or fewer, at least one, without their times."""
        if not len(self._made):
            self._made = self._make()
        ticks, self._made = self._made[:count], self._made[count:]
        return ticks

    def _make(self) -> TickBatch:
        words = self._random.random_raw(PORTION)
        step, lots, side, symbol = words.astype("<u8").view("<u2").reshape(-1, 4).astype(np.int64).T
        which = symbol * len(self._indices) >> 16
        price = self._reflected(which, self._walk(which, step % 7 - 3)) * self._increment[which]
        size = (lots % 1000 + 1) * self._lot[which]
        aggressor = ((side & 1) * 2 - 1).astype(np.int8)
        none = np.zeros(PORTION, np.int64)
        return TickBatch(self._table, none, self._indices[which], price, size, aggressor, None, none, none)

    def _walk(self, which: Int64s, steps: Int64s) -> Int64s:
        """Return where each tick's symbol has walked to, in increments, and remember where they all stand."""
        order = np.argsort(which, kind="stable")
        symbols, walked = which[order], np.cumsum(steps[order])
        first = np.flatnonzero(np.diff(symbols, prepend=-1))
        last = np.append(first[1:], len(symbols)) - 1
        before = np.append(0, walked[last[:-1]])
        walked += np.repeat(self._walked[symbols[first]] - before, last - first + 1)
        self._walked[symbols[first]] = walked[last]
        result = np.empty_like(walked)
        result[order] = walked
        return result

    def _reflected(self, which: Int64s, walked: Int64s) -> Int64s:
        lowest = np.maximum(self._start // 2, 1)[which]
        span = 2 * self._start[which] - lowest
        along = (self._start[which] - lowest + walked) % (2 * span)
        price: Int64s = lowest + np.minimum(along, 2 * span - along)
        return price


def _price_grid(settings: SyntheticFeed, instrument: Instrument) -> tuple[int, int]:
    """Return the price increment in units of the instrument, and the start price in increments."""
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


def _lot(instrument: Instrument) -> int:
    """Return the size increment in units of the instrument: as stated, else 0.01."""
    if instrument.size_increment is not None:
        return to_units(instrument.size_increment, instrument.size_scale)
    return int(10 ** max(instrument.size_scale - 2, 0))
