"""The last print of every instrument and the session clock, as of the tick that is being judged.

in: batches of ticks, advanced position by position · out: marks, the clock, and how late data was.
Without signals a batch costs a few numpy calls, however long it is.

The clock rule (S7) is that of `domain.statistics`. Lag is receipt minus event time. A negative median of the
venue's last `WINDOW` prints proves that its clock and ours disagree, and lag is then counted from it;
a positive one may be real delay, and is not forgiven. So a lone negative lag is fresh, and a late
print is late even beside a clock that runs ahead.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import numpy as np

from hybrid_platform.domain.exact import MONEY, from_units
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.statistics import MIN_SAMPLES, WINDOW
from hybrid_platform.domain.ticks import Int64s, TickBatch
from hybrid_platform.trading.print_sizes import PrintSizes

LastPrice = tuple[Decimal, int, int]
"""An instrument's last print: price, event time, receive time."""

_NONE: Int64s = np.zeros(0, dtype=np.int64)


class MarketState:
    """Owned by the engine: `begin` a batch, `advance` through it, read in between, `end` it."""

    def __init__(self, table: InstrumentTable, sizes: PrintSizes | None = None) -> None:
        self.now = 0
        """The session clock: the highest receive time, timer or command so far."""
        self.at = 0
        """Position in the batch: the ticks before it are seen."""
        self.lag_floor = 0
        """No reference lag is below this."""
        self._table = table
        self._sizes = sizes
        self._sized = 0
        self._quanta: list[Decimal] = []
        self._venues: dict[str, Int64s] = {}
        """The lags of each venue's last `WINDOW` prints, before this batch."""
        self._venue_of = _NONE
        # Each instrument's last print, as of the tick before `at`; a lone instrument's, before this batch.
        self._price, self._event, self._receipt = _NONE, _NONE, _NONE
        self._seq = 0
        self._ticks: TickBatch | None = None
        self._clock, self._lag = _NONE, _NONE

    def begin(self, ticks: TickBatch) -> None:
        """Take up a batch that is not empty; nothing of it counts before `advance`."""
        if len(self._table) > len(self._quanta):
            self._grow()
        self._ticks = ticks
        self._clock = np.maximum.accumulate(ticks.ts_recv)
        if self._clock.item(0) < self.now:
            self._clock = np.maximum(self._clock, self.now)
        self._lag = ticks.ts_recv - ticks.ts_event
        self.at = self._sized = 0
        self.lag_floor = min(self.lag_floor, int(self._lag.min()))

    def advance(self, stop: int) -> None:
        """Take all ticks of the batch before position ``stop`` as seen."""
        ticks, start = self._ticks, self.at
        if ticks is None or stop <= start:
            return
        if len(self._quanta) > 1:
            # Where an instrument is there more than once, numpy leaves the last one's values.
            seen = ticks.instrument[start:stop]
            self._price[seen] = ticks.price[start:stop]
            self._event[seen] = ticks.ts_event[start:stop]
            self._receipt[seen] = ticks.ts_recv[start:stop]
        self.at = stop
        self.tell(self._clock.item(stop - 1))

    def end(self) -> None:
        """Put the batch away, all of it seen."""
        if self._ticks is None:
            return
        self.advance(len(self._ticks))
        self._count_sizes()
        self._seq = self.seq
        if len(self._quanta) == 1:
            self._price[0], self._event[0], self._receipt[0] = self._row(0)
        for venue in self._venues:
            self._venues[venue] = self._recent(venue)
        self._ticks, self.at = None, 0

    def tell(self, ts: int) -> None:
        """Move the session clock to ``ts``; it never goes back."""
        self.now = max(self.now, ts)

    @property
    def seq(self) -> int:
        """The last tick seen; 0 before the first."""
        return self._seq if self._ticks is None or not self.at else self._ticks.seq.item(self.at - 1)

    def first_at(self, ts: int, stop: int) -> int:
        """Return the position of the first tick from here at which the session clock is at ``ts``, at most ``stop``."""
        return self.at + int(np.searchsorted(self._clock[self.at : stop], ts, side="left"))

    def prints(self, stop: int) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield ``(position, session clock, instrument, price units, size units)`` of the ticks before ``stop``."""
        if self._ticks is None:
            return iter(())
        here = slice(self.at, stop)
        ticks = self._ticks
        return zip(
            range(self.at, stop),
            self._clock[here].tolist(),
            ticks.instrument[here].tolist(),
            ticks.price[here].tolist(),
            ticks.size[here].tolist(),
            strict=True,
        )

    def mark(self, index: int) -> LastPrice | None:
        """Return an instrument's last print; None before its first."""
        if index >= len(self._quanta):
            return None
        units, ts_event, ts_recv = self._row(index)
        return (MONEY.multiply(self._quanta[index], units), ts_event, ts_recv) if units else None

    def price(self, index: int) -> Decimal:
        """Return an instrument's last price, exact; 0 before its first print."""
        return MONEY.multiply(self._quanta[index], self._row(index)[0])

    def price_units(self) -> list[int]:
        """Return every instrument's last price in units of 10^-price_scale; 0 before its first print."""
        units: list[int] = [self._row(0)[0]] if len(self._quanta) == 1 else self._price.tolist()
        return units

    def mean_print_size(self, index: int) -> Decimal:
        """Return an instrument's mean print size so far, rounded down to a size unit; counted only where asked for."""
        self._count_sizes()
        units = self._sizes.mean(index) if self._sizes else 0
        return from_units(units, self._table[index].size_scale)

    def reference_lag(self, venue: str) -> int:
        """Return the lag (ns, not above 0) from which a venue's lags count at this tick."""
        lags = self._recent(venue)
        middle = (len(lags) - 1) // 2
        return min(0, int(np.partition(lags, middle)[middle])) if len(lags) >= MIN_SAMPLES else 0

    def _grow(self) -> None:
        """Make room for instruments that are new in the table."""
        for item in tuple(self._table)[len(self._quanta) :]:
            self._quanta.append(from_units(1, item.price_scale))
            self._venues.setdefault(item.venue, _NONE)
        names = list(self._venues)
        self._venue_of = np.array([names.index(item.venue) for item in self._table], dtype=np.int64)
        missing = len(self._quanta) - len(self._price)
        self._price, self._event, self._receipt = (
            np.append(column, np.zeros(missing, dtype=np.int64)) for column in (self._price, self._event, self._receipt)
        )

    def _row(self, index: int) -> tuple[int, int, int]:
        """Return an instrument's last print in units; a lone instrument's is the last tick, copied nowhere."""
        at, ticks = self.at - 1, self._ticks
        if ticks is not None and at >= 0 and len(self._quanta) == 1:
            return ticks.price.item(at), ticks.ts_event.item(at), ticks.ts_recv.item(at)
        return self._price.item(index), self._event.item(index), self._receipt.item(index)

    def _count_sizes(self) -> None:
        if self._sizes is not None and self._ticks is not None and self._sized < self.at:
            self._sizes.add(self._ticks[self._sized : self.at])
            self._sized = self.at

    def _recent(self, venue: str) -> Int64s:
        """Return the lags of a venue's last `WINDOW` prints seen."""
        before = self._venues.get(venue, _NONE)
        if self._ticks is None:
            return before
        lags = self._lag[: self.at]
        if len(self._venues) > 1:
            lags = lags[self._venue_of[self._ticks.instrument[: self.at]] == list(self._venues).index(venue)]
        return np.concatenate((before, lags[-WINDOW:]))[-WINDOW:]
