"""The last print of every instrument and the session clock, as of the tick that is being judged.

in: batches of ticks, advanced position by position · out: marks, the clock, and how late data was.
Without signals a batch costs a few numpy calls, however long it is.

The clock rule (S7). Lag is receipt minus event time. Where a venue's clock and ours disagree so far
that most prints seem to arrive before they happened, lag means nothing by itself: it is then counted
from the *reference*, the median lag of the venue's last `WINDOW` prints. The reference is never above
zero: a positive median may be real delay, and is counted as such. So a lone negative lag is fresh,
and a late print is late even beside a clock that runs ahead.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from hybrid_platform.domain.exact import MONEY, from_units
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.ticks import Int64s, TickBatch

WINDOW = 256
"""Prints of a venue whose median lag is the reference."""

Mark = tuple[Decimal, int, int]
"""An instrument's last print: price, event time, receive time."""

_NO_LAGS: Int64s = np.empty(0, dtype=np.int64)


class Marks:
    """Owned by the engine: `begin` a batch, `advance` through it, read in between, `end` it."""

    def __init__(self, table: InstrumentTable) -> None:
        self.now = 0
        """The session clock: the highest receive time, timer or command so far."""
        self.lag_floor = 0
        """No reference lag is below this."""
        self._table = table
        self._quanta: list[Decimal] = []
        self._lags: dict[str, Int64s] = {}
        # One row an instrument, as of the tick before position `_at` of the batch: price, event, receipt.
        self._last: Int64s = np.zeros((1, 3), dtype=np.int64)
        self._ticks: TickBatch | None = None
        self._rows: Int64s = self._last
        self._clock: Int64s = self._last
        self._at = 0

    def begin(self, ticks: TickBatch) -> None:
        """Take up a batch that is not empty; nothing of it counts before `advance`."""
        for item in tuple(self._table)[len(self._quanta) :]:
            self._quanta.append(from_units(1, item.price_scale))
        if len(self._quanta) > len(self._last):
            grown = np.zeros((2 * len(self._quanta), 3), dtype=np.int64)
            grown[: len(self._last)] = self._last
            self._last = grown
        self._ticks = ticks
        self._rows = np.column_stack((ticks.price, ticks.ts_event, ticks.ts_recv))
        self._clock = np.maximum.accumulate(ticks.ts_recv)
        self._at = 0
        self.lag_floor = min(self.lag_floor, int((ticks.ts_recv - ticks.ts_event).min()))

    def advance(self, stop: int) -> None:
        """Take all ticks of the batch before position ``stop`` as seen."""
        ticks, start = self._ticks, self._at
        if ticks is None or stop <= start:
            return
        if len(self._quanta) == 1:
            self._last[0] = self._rows[stop - 1]
        else:
            # Where an instrument is there more than once, numpy leaves the last one's values.
            self._last[ticks.instrument[start:stop]] = self._rows[start:stop]
        self._at = stop
        self.tell(self._clock.item(stop - 1))

    def end(self) -> None:
        """Put the batch away, all of it seen."""
        if self._ticks is not None:
            self.advance(len(self._ticks))
            for venue in self._venues():
                self._lags[venue] = self._recent(venue)
            self._ticks = None

    def tell(self, ts: int) -> None:
        """Move the session clock to ``ts``; it never goes back."""
        if ts > self.now:
            self.now = ts

    def mark(self, index: int) -> Mark | None:
        """Return an instrument's last print; None before its first."""
        if index >= len(self._quanta):
            return None
        units, ts_event, ts_recv = self._last[index].tolist()
        return (MONEY.multiply(self._quanta[index], units), ts_event, ts_recv) if units else None

    def price(self, index: int) -> Decimal:
        """Return an instrument's last price, exact; 0 before its first print."""
        return MONEY.multiply(self._quanta[index], self._last.item(index, 0))

    def price_units(self) -> list[int]:
        """Return every instrument's last price in units of 10^-price_scale; 0 before its first print."""
        units: list[int] = self._last[:, 0].tolist()
        return units

    def reference_lag(self, venue: str) -> int:
        """Return the lag (ns, not above 0) from which a venue's lags count at this tick."""
        lags = self._recent(venue)
        return min(0, int(np.sort(lags)[len(lags) // 2])) if len(lags) else 0

    def _recent(self, venue: str) -> Int64s:
        """Return the lags of a venue's last `WINDOW` prints seen."""
        before = self._lags.get(venue, _NO_LAGS)
        if self._ticks is None:
            return before
        here = self._ticks[: self._at]
        if len(self._venues()) > 1:
            of_venue = np.array([item.venue == venue for item in self._table])
            here = here[of_venue[here.instrument]]
        here = here[-WINDOW:]
        return np.concatenate((before, here.ts_recv - here.ts_event))[-WINDOW:]

    def _venues(self) -> set[str]:
        return {instrument.venue for instrument in self._table}
