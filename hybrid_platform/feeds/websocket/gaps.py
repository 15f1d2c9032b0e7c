"""Detection of trades that a venue had and we did not receive (S3).

in: the ids of one source's trades as they arrive, and its disconnects · out: `GapRecord` objects. With contiguous
ids, a jump shows exactly which trades are missing; with opaque ids, only a break in the stream is known. A jump is
held back for `SETTLE_NS`, because late trades may still fill it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hybrid_platform.domain.orders import GapRecord
from hybrid_platform.feeds.base import BETWEEN_SESSIONS
from hybrid_platform.feeds.websocket.venue import Trade

SETTLE_NS = 1_000_000_000
WHOLE_VENUE = "*"
"""Symbol of a gap in the venue's own message numbers."""
_MAX_LATE_IDS = 4_096
"""Late ids remembered per open jump; more than that means a different stream, not late trades."""


class GapNumbers:
    """Sequence 1, 2, 3 … shared by all sources of a session."""

    def __init__(self) -> None:
        self.last = 0

    def next(self) -> int:
        """Return the next number."""
        self.last += 1
        return self.last


class _Jump:
    """Missing ids between ``after`` and ``until``, both of which were seen."""

    __slots__ = ("after", "cause", "found", "late", "ts_from", "ts_to", "until")

    def __init__(self, after: int, until: int, cause: str, ts_from: int, ts_to: int, found: int) -> None:
        self.after = after
        self.until = until
        self.cause = cause
        self.ts_from = ts_from
        self.ts_to = ts_to
        self.found = found
        self.late: set[int] = set()


class _Stream:
    """State of one symbol."""

    __slots__ = ("broken", "jumps", "last", "ts")

    def __init__(self) -> None:
        self.last: int | str | None = None
        """The newest id; the highest one if ids are contiguous."""
        self.ts = 0
        self.broken: str | None = None
        """Why the last connection ended, if no new trade has arrived since."""
        self.jumps: list[_Jump] = []


class GapTracker:
    """Gap detection for one source. ``venue`` is its name in the instruments. Owned by the thread that reads it."""

    def __init__(self, venue: str, *, contiguous: bool, numbers: GapNumbers) -> None:
        self._venue = venue
        self._contiguous = contiguous
        self._numbers = numbers
        self._streams: dict[str, _Stream] = {}
        self._with_jumps: dict[str, None] = {}
        """Symbols with an open jump, in order, so that `settle` can skip all others."""
        self._found: list[GapRecord] = []
        self.count = 0
        self.missing = 0
        """Trades known to be missing; opaque ids add nothing here."""

    def resume_from(self, symbol: str, ref: int | str, ts_event: int) -> None:
        """Set the last trade of a (cleaned) symbol that an earlier session saw; call before the first `observe`."""
        stream = self._streams[symbol] = _Stream()
        stream.last, stream.ts, stream.broken = ref, ts_event, BETWEEN_SESSIONS

    def observe(self, symbol: str, trades: Iterable[Trade], ts_recv: int) -> None:
        """Record the trades of one frame and one (cleaned) symbol."""
        stream = self._streams.get(symbol)
        if stream is None:
            stream = self._streams[symbol] = _Stream()
        for trade in sorted(trades, key=_numeric_id):
            if self._contiguous and isinstance(trade.ref, int):
                self._observe_contiguous(stream, symbol, (trade.ref, trade.span), trade.ts_event, ts_recv)
            else:
                self._observe_opaque(stream, symbol, trade, ts_recv)

    def skip(self, symbol: str, ref: int, ts_recv: int) -> None:
        """Record the id of a trade that was left out on purpose."""
        if self._contiguous and (stream := self._streams.get(symbol)) is not None:
            self._observe_contiguous(stream, symbol, (ref, 1), stream.ts, ts_recv)

    def _observe_contiguous(
        self, stream: _Stream, symbol: str, ids: tuple[int, int], ts_event: int, ts_recv: int
    ) -> None:
        (ref, span), last = ids, stream.last
        if not isinstance(last, int):
            stream.last, stream.ts, stream.broken = ref, ts_event, None
        elif ref > last:
            if ref - span > last:
                cause = stream.broken or "trade_id"
                stream.jumps.append(_Jump(last, ref - span + 1, cause, stream.ts, ts_event, ts_recv))
                self._with_jumps[symbol] = None
            stream.last, stream.ts, stream.broken = ref, ts_event, None
        else:
            for jump in stream.jumps:
                if jump.after < ref < jump.until and len(jump.late) < _MAX_LATE_IDS:
                    jump.late.update(range(max(jump.after + 1, ref - min(span, _MAX_LATE_IDS) + 1), ref + 1))

    def _observe_opaque(self, stream: _Stream, symbol: str, trade: Trade, ts_recv: int) -> None:
        if stream.broken is not None and trade.ref != stream.last:
            self._record(symbol, stream.last, trade.ref, None, stream.broken, (stream.ts, trade.ts_event, ts_recv))
            stream.broken = None
        stream.last, stream.ts = trade.ref, trade.ts_event

    def on_disconnect(self, symbols: Iterable[str], cause: str) -> None:
        """Record that the connection which carried these (cleaned) symbols has ended."""
        for symbol in symbols:
            stream = self._streams.get(symbol)
            if stream is not None and stream.broken is None:
                stream.broken = cause

    def on_sequence_jump(self, last: int, now: int, ts_recv: int) -> None:
        """Record a jump in the venue's own message numbers."""
        self._record(WHOLE_VENUE, last, now, None, "sequence", (0, 0, ts_recv))

    def settle(self, now_ns: int) -> Sequence[GapRecord]:
        """Return the gaps that late trades can no longer fill."""
        for symbol in list(self._with_jumps):
            jumps = self._streams[symbol].jumps
            while jumps and now_ns - jumps[0].found >= SETTLE_NS:
                self._close(symbol, jumps.pop(0))
            if not jumps:
                del self._with_jumps[symbol]
        return self._drain()

    def finish(self, now_ns: int) -> Sequence[GapRecord]:
        """Return the remaining gaps at the end: open jumps, and streams that broke and never resumed."""
        for symbol, stream in self._streams.items():
            for jump in stream.jumps:
                self._close(symbol, jump)
            stream.jumps.clear()
            self._with_jumps.pop(symbol, None)
            if stream.broken is not None:
                self._record(symbol, stream.last, None, None, stream.broken, (stream.ts, 0, now_ns))
                stream.broken = None
        return self._drain()

    def _close(self, symbol: str, jump: _Jump) -> None:
        missing = jump.until - jump.after - 1 - len(jump.late)
        if missing > 0:
            self.missing += missing
            self._record(symbol, jump.after, jump.until, missing, jump.cause, (jump.ts_from, jump.ts_to, jump.found))

    def _record(
        self,
        symbol: str,
        from_id: int | str | None,
        to_id: int | str | None,
        missing: int | None,
        cause: str,
        times: tuple[int, int, int],
    ) -> None:
        self.count += 1
        ids = (None if from_id is None else str(from_id), None if to_id is None else str(to_id))
        self._found.append(GapRecord(self._numbers.next(), self._venue, symbol, *ids, missing, cause, *times))

    def _drain(self) -> Sequence[GapRecord]:
        found, self._found = self._found, []
        return found


def _numeric_id(trade: Trade) -> int:
    """Return the sort key of a trade: contiguous ids by number, opaque ones in order of arrival."""
    return trade.ref if isinstance(trade.ref, int) else 0
