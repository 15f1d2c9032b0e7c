"""One source's frames, read and accounted for: nothing that arrives is neither a tick nor counted (S5).

in: frames with their receive times, live or recorded · out: `FeedBatch`es. For each of them
``received = ticks + rejected + history``; frames without a trade are counted by kind in ``ignored``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from hybrid_platform.domain.decimals import to_units
from hybrid_platform.domain.instruments import Instrument, InstrumentTable, clean_symbol
from hybrid_platform.domain.orders import GapRecord
from hybrid_platform.domain.statistics import RunningMedianLag
from hybrid_platform.domain.ticks import batch_from_rows
from hybrid_platform.feeds.base import FeedBatch, Rejection
from hybrid_platform.feeds.websocket.gaps import GapTracker
from hybrid_platform.feeds.websocket.parsing import Print, UnusableError, Venue
from hybrid_platform.feeds.websocket.sample import sample_of
from hybrid_platform.feeds.websocket.symbols import base_and_quote

Row = tuple[int, int, int, int, int | str | None, int, int]
"""(instrument, price, size, side, trade_ref, ts_event, ts_recv): what `batch_from_rows` takes."""

KINDS = 64
"""Kinds of ignored frames told apart; a venue that makes up more is counted under ``other_kinds``."""
_NOT_OF_A_KIND = re.compile(r"[^A-Za-z0-9_.:@-]")


class Heard(NamedTuple):
    """What a frame means to the connection that brought it."""

    trades: bool = False
    """It held trades, of now or of before: the venue is alive."""
    ends: str = ""
    """Not empty: the venue refuses to serve or asks for a new connection, and this is why."""
    sequence: int | None = None
    """The venue's count of messages on this connection."""


class FrameReader:
    """Reads the frames of one source; owned by the thread that reads them.

    ``symbols``: what was subscribed, others are ignored (None: everything is taken). ``only`` names
    the symbol of a source whose frames do not.
    """

    def __init__(
        self,
        venue: Venue,
        table: InstrumentTable,
        gaps: GapTracker,
        *,
        symbols: Sequence[str] | None = None,
        quote: str | None = None,
        only: str | None = None,
    ) -> None:
        self.venue = venue
        self.gaps = gaps
        self.lag = RunningMedianLag()
        self.frames = 0
        self.ignored: Counter[str] = Counter()
        """Over the whole session."""
        self._table = table
        self._quote = quote
        self._only = only
        self._wanted = None if symbols is None else frozenset(clean_symbol(symbol) for symbol in symbols)
        self._known: dict[str, tuple[int, Instrument] | None] = {}
        self._rows: list[Row] = []
        self._rejected: Counter[str] = Counter()
        self._samples: list[Rejection] = []
        self._history = 0
        self._ignored_now: Counter[str] = Counter()

    def read(self, frame: bytes | str, ts_recv: int, *, binary: bool = False) -> Heard:
        """Take one frame; ``ts_recv`` 0: the receive time is not known, and the event time stands in for it."""
        self.frames += 1
        if binary:
            self.reject("binary_frame", frame)
            return Heard()
        decoded = self.venue.decode(frame)
        if decoded.prints:
            self._take(decoded.prints, ts_recv)
        for symbol, ref in decoded.seen:
            self.gaps.skip(symbol.upper(), ref, ts_recv)
        if decoded.ignored:
            self._ignore(decoded.ignored)
        for cause, sample in decoded.rejected:
            self._reject(cause, sample)
        self._history += decoded.history
        return Heard(bool(decoded.prints or decoded.history), decoded.ends, decoded.sequence)

    def _take(self, prints: Sequence[Print], ts_recv: int) -> None:
        by_symbol: dict[str, list[Print]] = {}
        for trade in prints:
            try:
                found = self._instrument(trade.symbol)
                if found is None:
                    self._ignore("foreign_symbol")
                    continue
                index, instrument = found
                price, size = _units(trade, instrument)
            except UnusableError as error:
                self._reject(error.cause, sample_of(str(trade)))
                continue
            received = ts_recv or trade.ts_event
            self._rows.append((index, price, size, trade.side, trade.ref, trade.ts_event, received))
            by_symbol.setdefault(instrument.symbol, []).append(trade)
        for symbol, trades in by_symbol.items():
            self.gaps.observe(symbol, trades, ts_recv or trades[-1].ts_event)
        if ts_recv and by_symbol:
            self.lag.observe(ts_recv - prints[-1].ts_event)

    def _instrument(self, native: str) -> tuple[int, Instrument] | None:
        """Return the instrument of a venue's symbol, None for one that was not asked for."""
        if native not in self._known:
            try:
                symbol = clean_symbol(native or self._only)
            except ValueError:
                raise UnusableError("bad_symbol") from None
            if self._wanted is not None and symbol not in self._wanted:
                return None
            base, quote = base_and_quote(symbol)
            inferred = Instrument(
                self.venue.label, symbol, base, self._quote or quote, size_scale=self.venue.size_scale(symbol)
            )
            index = self._table.intern(self.venue.label, symbol, inferred)
            self._known[native] = index, self._table[index]
        return self._known[native]

    def reject(self, cause: str, frame: bytes | str) -> None:
        """Count a frame that never came to be decoded."""
        self._reject(cause, sample_of(frame))

    def _reject(self, cause: str, sample: str) -> None:
        if cause not in self._rejected:
            self._samples.append(Rejection(cause, f"{self.venue.name} frame {self.frames}", sample))
        self._rejected[cause] += 1

    def _ignore(self, kind: str) -> None:
        kind = _NOT_OF_A_KIND.sub("_", kind[:40])
        if kind not in self.ignored and len(self.ignored) >= KINDS:
            kind = "other_kinds"
        self.ignored[kind] += 1
        self._ignored_now[kind] += 1

    @property
    def waiting(self) -> int:
        """Ticks read and not yet taken."""
        return len(self._rows)

    def take(self, gaps: Sequence[GapRecord] = ()) -> list[FeedBatch]:
        """Return what was read since the last time, with ``gaps``; nothing at all is an empty list.

        A batch holds ids of one type, or ingest could not tell a repeated one (text in one batch,
        a number in the next).
        """
        groups = [list(rows) for _, rows in groupby(self._rows, key=_id_type)]
        if not (groups or self._rejected or self._history or self._ignored_now or gaps):
            return []
        batches = [FeedBatch(batch_from_rows(self._table, rows), received=len(rows)) for rows in groups or [[]]]
        rejected = sum(self._rejected.values())
        batches[0] = batches[0]._replace(
            received=batches[0].received + rejected + self._history,
            rejected=dict(self._rejected),
            samples=tuple(self._samples),
            history=self._history,
            gaps=tuple(gaps),
            ignored=dict(self._ignored_now),
        )
        self._rows, self._samples, self._history = [], [], 0
        self._rejected.clear()
        self._ignored_now.clear()
        return batches


def _id_type(row: Row) -> type:
    return type(row[4])


def _units(trade: Print, instrument: Instrument) -> tuple[int, int]:
    try:
        price = to_units(trade.price, instrument.price_scale)
    except ValueError:
        raise UnusableError("price_does_not_fit") from None
    try:
        return price, to_units(trade.size, instrument.size_scale)
    except ValueError:
        raise UnusableError("size_does_not_fit") from None
