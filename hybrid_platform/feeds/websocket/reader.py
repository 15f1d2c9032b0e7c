"""Reading of one source's frames: every frame gives ticks or is counted (S5, L3).

in: frames with their receive times, live or recorded · out: `FeedBatch` objects. For each of them
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
from hybrid_platform.domain.ticks import TickRow, batch_from_rows
from hybrid_platform.feeds.base import FeedBatch, Rejection
from hybrid_platform.feeds.websocket.gaps import GapTracker
from hybrid_platform.feeds.websocket.parsing import InvalidValueError, base_and_quote, make_sample
from hybrid_platform.feeds.websocket.venue import Trade, Venue

MAX_KINDS = 64
"""Kinds of ignored frames that are counted separately; further ones are counted as ``other_kinds``."""
_NOT_IN_A_KIND = re.compile(r"[^A-Za-z0-9_.:@-]")


class FrameResult(NamedTuple):
    """Consequences of a frame for the connection that received it."""

    has_trades: bool = False
    """Whether it held trades, new or from history: the venue is alive."""
    close_reason: str = ""
    """Not empty: why the venue refuses to serve or asks for a new connection."""
    sequence: int | None = None
    """The venue's message number on this connection."""


class FrameReader:
    """Reader of one source's frames; owned by the thread that reads them.

    ``symbols`` are the subscribed ones, others are ignored (None: every symbol is read). ``only`` is the
    symbol of a source whose frames do not name it.
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
        """Kind -> count over the whole session."""
        self._table = table
        self._quote = quote
        self._only = only
        self._subscribed = None if symbols is None else frozenset(clean_symbol(symbol) for symbol in symbols)
        self._instruments: dict[str, tuple[int, Instrument]] = {}
        self._rows: list[TickRow] = []
        self._rejected: Counter[str] = Counter()
        self._samples: list[Rejection] = []
        self._history = 0
        self._newly_ignored: Counter[str] = Counter()

    def read(self, frame: bytes | str, ts_recv: int, *, binary: bool = False) -> FrameResult:
        """Read one frame; a ``ts_recv`` of 0 means that it is unknown, and the event time is used instead."""
        self.frames += 1
        if binary:
            self.reject("binary_frame", frame)
            return FrameResult()
        decoded = self.venue.decode(frame)
        if decoded.trades:
            self._add_trades(decoded.trades, ts_recv)
        for symbol, ref in decoded.skipped:
            self.gaps.skip(symbol.upper(), ref, ts_recv)
        if decoded.ignored:
            self._ignore(decoded.ignored)
        for cause, sample in decoded.rejected:
            self._reject(cause, sample)
        self._history += decoded.history
        return FrameResult(bool(decoded.trades or decoded.history), decoded.close_reason, decoded.sequence)

    def _add_trades(self, trades: Sequence[Trade], ts_recv: int) -> None:
        by_symbol: dict[str, list[Trade]] = {}
        for trade in trades:
            try:
                found = self._find_instrument(trade.symbol)
                if found is None:
                    self._ignore("foreign_symbol")
                    continue
                index, instrument = found
                price, size = _to_instrument_units(trade, instrument)
            except InvalidValueError as error:
                self._reject(error.cause, make_sample(str(trade)))
                continue
            received = ts_recv or trade.ts_event
            self._rows.append((index, price, size, trade.side, trade.ref, trade.ts_event, received))
            by_symbol.setdefault(instrument.symbol, []).append(trade)
        for symbol, accepted in by_symbol.items():
            self.gaps.observe(symbol, accepted, ts_recv or accepted[-1].ts_event)
        if ts_recv and by_symbol:
            self.lag.observe(ts_recv - trades[-1].ts_event)

    def _find_instrument(self, native: str) -> tuple[int, Instrument] | None:
        """Return the instrument of a venue's symbol, or None if it is not subscribed."""
        found = self._instruments.get(native)
        if found is None:
            try:
                symbol = clean_symbol(native or self._only)
            except ValueError:
                raise InvalidValueError("bad_symbol") from None
            if self._subscribed is not None and symbol not in self._subscribed:
                return None
            base, quote = base_and_quote(symbol)
            inferred = Instrument(
                self.venue.label, symbol, base, self._quote or quote, size_scale=self.venue.size_scale(symbol)
            )
            index = self._table.intern(self.venue.label, symbol, inferred)
            found = self._instruments[native] = index, self._table[index]
        return found

    def reject(self, cause: str, frame: bytes | str) -> None:
        """Count a frame that could not be decoded at all."""
        self._reject(cause, make_sample(frame))

    def _reject(self, cause: str, sample: str) -> None:
        if cause not in self._rejected:
            self._samples.append(Rejection(cause, f"{self.venue.name} frame {self.frames}", sample))
        self._rejected[cause] += 1

    def _ignore(self, kind: str) -> None:
        kind = _NOT_IN_A_KIND.sub("_", kind[:40])
        if kind not in self.ignored and len(self.ignored) >= MAX_KINDS:
            kind = "other_kinds"
        self.ignored[kind] += 1
        self._newly_ignored[kind] += 1

    @property
    def waiting(self) -> int:
        """Number of ticks read and not yet drained."""
        return len(self._rows)

    def drain(self, gaps: Sequence[GapRecord] = ()) -> list[FeedBatch]:
        """Return everything read since the last call, with ``gaps``; an empty list if there is nothing.

        Each batch holds ids of one type. Otherwise an id could be text in one batch and a number in the
        next, and ingest would not recognise a duplicate.
        """
        groups = [list(rows) for _, rows in groupby(self._rows, key=_id_type)]
        if not (groups or self._rejected or self._history or self._newly_ignored or gaps):
            return []
        batches = [FeedBatch(batch_from_rows(self._table, rows), received=len(rows)) for rows in groups or [[]]]
        rejected = sum(self._rejected.values())
        batches[0] = batches[0]._replace(
            received=batches[0].received + rejected + self._history,
            rejected=dict(self._rejected),
            samples=tuple(self._samples),
            history=self._history,
            gaps=tuple(gaps),
            ignored=dict(self._newly_ignored),
        )
        self._rows, self._samples, self._history = [], [], 0
        self._rejected.clear()
        self._newly_ignored.clear()
        return batches


def _id_type(row: TickRow) -> type:
    return type(row[4])


def _to_instrument_units(trade: Trade, instrument: Instrument) -> tuple[int, int]:
    try:
        price = to_units(trade.price, instrument.price_scale)
    except ValueError:
        raise InvalidValueError("price_does_not_fit") from None
    try:
        return price, to_units(trade.size, instrument.size_scale)
    except ValueError:
        raise InvalidValueError("size_does_not_fit") from None
