"""A feed of given ticks, so that a test decides what a strategy sees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hybrid_platform.domain.clocks import NS_PER_S, Stopper
from hybrid_platform.domain.decimals import parse_decimal, to_units
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.ticks import batch_from_rows
from hybrid_platform.feeds.base import FeedBatch
from hybrid_platform.testing.clock import START_NS


class TickSpec(NamedTuple):
    """One tick; everything but its price has a default."""

    price: int | float | str
    size: int | float | str = 1
    symbol: str = "SOL/USDC"
    side: int = 0
    """The aggressor: 1 buyer, -1 seller, 0 unknown."""
    trade_id: int | str | None = None
    ts: int | None = None
    """Event and receive time in nanoseconds; None: one second after the previous tick."""


class ListFeed:
    """A `Feed` that yields the given ticks (`TickSpec` or plain prices), ``per_batch`` at a time, and ends."""

    name = "list"

    def __init__(
        self,
        table: InstrumentTable,
        ticks: Iterable[TickSpec | int | float | str],
        *,
        venue: str = "TEST",
        per_batch: int = 1,
    ) -> None:
        self._table = table
        self._ticks = [item if isinstance(item, TickSpec) else TickSpec(item) for item in ticks]
        self._venue = venue
        self._per_batch = per_batch

    def open(self) -> None:
        """Do nothing: there is nothing to check."""

    def batches(self, stop: Stopper) -> Iterator[FeedBatch]:
        """Yield the ticks in order."""
        rows = []
        ts = START_NS - NS_PER_S
        for item in self._ticks:
            ts = ts + NS_PER_S if item.ts is None else item.ts
            index = self._table.intern(self._venue, item.symbol)
            instrument = self._table[index]
            price = to_units(parse_decimal(item.price), instrument.price_scale)
            size = to_units(parse_decimal(item.size), instrument.size_scale)
            rows.append((index, price, size, item.side, item.trade_id, ts, ts))
        for start in range(0, len(rows), self._per_batch):
            if stop.is_set():
                return
            chunk = rows[start : start + self._per_batch]
            yield FeedBatch(batch_from_rows(self._table, chunk), received=len(chunk))

    def close(self) -> None:
        """Do nothing: there is nothing to close."""
