"""The last price of every instrument and the session clock, as of the tick that is being judged (S7).

in: batches of ticks, passed position by position · out: last prices, the clock, and the lag of the data.
Without signals a batch costs a few numpy calls, however long it is.

Lag is receipt minus event time. A negative median of the venue's last `WINDOW` lags proves that its clock
and ours disagree, and lag is then counted from that median; a positive median may be real delay, and is
not subtracted (see `domain.statistics`). So a single negative lag is fresh, and a late tick is late even
if the venue's clock runs ahead.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import numpy as np

from hybrid_platform.domain.decimals import MONEY, from_units
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.statistics import MIN_SAMPLES, WINDOW
from hybrid_platform.domain.ticks import Int64s, TickBatch

LastPrice = tuple[Decimal, int, int]
"""An instrument's last price, with its event time and receive time."""

_NONE: Int64s = np.zeros(0, dtype=np.int64)
_LOW_HALF = 0xFFFFFFFF


class PrintSizes:
    """Count and sum of print sizes by instrument, exact: sizes are summed in two halves of 32 bits.

    The mean print size stands in for the depth of the book, which is not recorded. A batch of up to
    2^20 ticks keeps each half's sum below 2^53, where even floats are exact.
    """

    def __init__(self) -> None:
        self._sums: Int64s = np.zeros((3, 0), dtype=np.int64)
        """Count, sum of the low halves, sum of the high halves."""

    def add(self, ticks: TickBatch) -> None:
        """Count ticks that are not counted yet."""
        halves = (None, ticks.size & _LOW_HALF, ticks.size >> 32)
        sums = np.stack([np.bincount(ticks.instrument, half, len(ticks.table)) for half in halves]).astype(np.int64)
        sums[:, : self._sums.shape[1]] += self._sums
        self._sums = sums

    def mean(self, index: int) -> int:
        """Return an instrument's mean print size in units, rounded down; 0 before its first print."""
        if index >= self._sums.shape[1]:
            return 0
        count, low, high = self._sums[:, index].tolist()
        return ((high << 32) + low) // count if count else 0


class MarketState:
    """Owned by the engine: `begin_batch`, `advance` through it, read in between, `end_batch`."""

    def __init__(self, table: InstrumentTable, sizes: PrintSizes | None = None) -> None:
        self.now = 0
        """The session clock (ns): the highest receive time, timer or command so far."""
        self.position = 0
        """Position in the batch: the ticks before it have passed."""
        self.lag_floor = 0
        """No reference lag is below this."""
        self._table = table
        self._sizes = sizes
        self._sizes_counted = 0
        self._quanta: list[Decimal] = []
        """The price of one unit, by instrument."""
        self._venue_lags: dict[str, Int64s] = {}
        """The lags of each venue's last `WINDOW` ticks, before this batch."""
        self._venue_index = _NONE
        # Each instrument's last tick before `position`; for a lone instrument, its last tick before this batch.
        self._price, self._ts_event, self._ts_recv = _NONE, _NONE, _NONE
        self._seq = 0
        self._ticks: TickBatch | None = None
        self._clock, self._lag = _NONE, _NONE

    def begin_batch(self, ticks: TickBatch) -> None:
        """Take a batch that is not empty; none of its ticks count before `advance`."""
        if len(self._table) > len(self._quanta):
            self._grow()
        self._ticks = ticks
        self._clock = np.maximum.accumulate(ticks.ts_recv)
        if self._clock.item(0) < self.now:
            self._clock = np.maximum(self._clock, self.now)
        self._lag = ticks.ts_recv - ticks.ts_event
        self.position = self._sizes_counted = 0
        self.lag_floor = min(self.lag_floor, int(self._lag.min()))

    def advance(self, stop: int) -> None:
        """Pass all ticks of the batch before position ``stop``."""
        ticks, start = self._ticks, self.position
        if ticks is None or stop <= start:
            return
        if len(self._quanta) > 1:
            # If an instrument occurs more than once, numpy leaves the values of its last tick.
            passed = ticks.instrument[start:stop]
            self._price[passed] = ticks.price[start:stop]
            self._ts_event[passed] = ticks.ts_event[start:stop]
            self._ts_recv[passed] = ticks.ts_recv[start:stop]
        self.position = stop
        self.advance_clock(self._clock.item(stop - 1))

    def end_batch(self) -> None:
        """Pass the rest of the batch and release it."""
        if self._ticks is None:
            return
        self.advance(len(self._ticks))
        self._count_sizes()
        self._seq = self.seq
        if len(self._quanta) == 1:
            self._price[0], self._ts_event[0], self._ts_recv[0] = self._last_row(0)
        for venue in self._venue_lags:
            self._venue_lags[venue] = self._recent_lags(venue)
        self._ticks, self.position = None, 0

    def advance_clock(self, ts: int) -> None:
        """Move the session clock to ``ts``; it never goes back."""
        self.now = max(self.now, ts)

    @property
    def seq(self) -> int:
        """The last tick passed; 0 before the first."""
        return self._seq if self._ticks is None or not self.position else self._ticks.seq.item(self.position - 1)

    def find_first_at(self, ts: int, stop: int) -> int:
        """Return the position, at most ``stop``, of the first tick ahead with the session clock at or after ``ts``."""
        return self.position + int(np.searchsorted(self._clock[self.position : stop], ts, side="left"))

    def iter_ticks(self, stop: int) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield ``(position, session clock, instrument, price units, size units)`` of the ticks before ``stop``."""
        if self._ticks is None:
            return iter(())
        ahead = slice(self.position, stop)
        ticks = self._ticks
        return zip(
            range(self.position, stop),
            self._clock[ahead].tolist(),
            ticks.instrument[ahead].tolist(),
            ticks.price[ahead].tolist(),
            ticks.size[ahead].tolist(),
            strict=True,
        )

    def last_price(self, index: int) -> LastPrice | None:
        """Return an instrument's last price with its times; None before its first tick."""
        if index >= len(self._quanta):
            return None
        units, ts_event, ts_recv = self._last_row(index)
        return (MONEY.multiply(self._quanta[index], units), ts_event, ts_recv) if units else None

    def price(self, index: int) -> Decimal:
        """Return an instrument's last price, exact; 0 before its first tick."""
        return MONEY.multiply(self._quanta[index], self._last_row(index)[0])

    def last_price_units(self) -> list[int]:
        """Return every instrument's last price in units of 10^-price_scale; 0 before its first tick."""
        units: list[int] = [self._last_row(0)[0]] if len(self._quanta) == 1 else self._price.tolist()
        return units

    def mean_print_size(self, index: int) -> Decimal:
        """Return an instrument's mean print size so far, rounded down to a size unit; 0 unless sizes are counted."""
        self._count_sizes()
        units = self._sizes.mean(index) if self._sizes else 0
        return from_units(units, self._table[index].size_scale)

    def reference_lag(self, venue: str) -> int:
        """Return the lag (ns, not above 0) from which a venue's lags count at this tick."""
        lags = self._recent_lags(venue)
        middle = (len(lags) - 1) // 2
        return min(0, int(np.partition(lags, middle)[middle])) if len(lags) >= MIN_SAMPLES else 0

    def _grow(self) -> None:
        """Make room for instruments that are new in the table."""
        for item in tuple(self._table)[len(self._quanta) :]:
            self._quanta.append(from_units(1, item.price_scale))
            self._venue_lags.setdefault(item.venue, _NONE)
        names = list(self._venue_lags)
        self._venue_index = np.array([names.index(item.venue) for item in self._table], dtype=np.int64)
        missing = len(self._quanta) - len(self._price)
        self._price, self._ts_event, self._ts_recv = (
            np.append(column, np.zeros(missing, dtype=np.int64))
            for column in (self._price, self._ts_event, self._ts_recv)
        )

    def _last_row(self, index: int) -> tuple[int, int, int]:
        """Return an instrument's last tick in units; for a lone instrument, read from the batch without a copy."""
        at, ticks = self.position - 1, self._ticks
        if ticks is not None and at >= 0 and len(self._quanta) == 1:
            return ticks.price.item(at), ticks.ts_event.item(at), ticks.ts_recv.item(at)
        return self._price.item(index), self._ts_event.item(index), self._ts_recv.item(index)

    def _count_sizes(self) -> None:
        if self._sizes is not None and self._ticks is not None and self._sizes_counted < self.position:
            self._sizes.add(self._ticks[self._sizes_counted : self.position])
            self._sizes_counted = self.position

    def _recent_lags(self, venue: str) -> Int64s:
        """Return the lags of a venue's last `WINDOW` ticks passed."""
        before = self._venue_lags.get(venue, _NONE)
        if self._ticks is None:
            return before
        lags = self._lag[: self.position]
        if len(self._venue_lags) > 1:
            own = list(self._venue_lags).index(venue)
            lags = lags[self._venue_index[self._ticks.instrument[: self.position]] == own]
        return np.concatenate((before, lags[-WINDOW:]))[-WINDOW:]
