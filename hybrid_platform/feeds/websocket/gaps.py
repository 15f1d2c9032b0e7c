"""Notices trades that a venue had and we did not get (S3).

in: the ids of one source's trades as they come, and when its stream broke · out: `GapRecord`s. Where
ids are contiguous a jump says exactly what is missing; where they are opaque, a break of the stream
is all that can be said. A jump is held back for `SETTLE_NS`, in which late trades may still fill it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hybrid_platform.domain.orders import GapRecord
from hybrid_platform.feeds.base import BETWEEN_SESSIONS
from hybrid_platform.feeds.websocket.parsing import Print

SETTLE_NS = 1_000_000_000
WHOLE_VENUE = "*"
"""The symbol of a gap in the venue's own message counter."""
_LATE_IDS = 4_096
"""Late ids remembered per open jump; more than that in one second is no disorder but another stream."""


class GapNumbers:
    """1, 2, 3 … over all gaps of the session, whichever source found them."""

    def __init__(self) -> None:
        self.last = 0

    def next(self) -> int:
        """Return the next number."""
        self.last += 1
        return self.last


class _Jump:
    """Ids ``after`` … ``until`` (both seen) with something missing between them."""

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
    """What is known of one symbol."""

    __slots__ = ("broken", "jumps", "last", "ts")

    def __init__(self) -> None:
        self.last: int | str | None = None
        """The newest id; of contiguous ones the highest."""
        self.ts = 0
        self.broken: str | None = None
        """Why the connection ended after which no new trade has come yet."""
        self.jumps: list[_Jump] = []


class GapTracker:
    """One source's streams. ``venue`` is what the instruments call it."""

    def __init__(self, venue: str, *, contiguous: bool, numbers: GapNumbers) -> None:
        self._venue = venue
        self._contiguous = contiguous
        self._numbers = numbers
        self._streams: dict[str, _Stream] = {}
        self._jumping: dict[str, None] = {}
        """Symbols with an open jump, so that settling need not look at the others."""
        self._found: list[GapRecord] = []
        self.count = 0
        self.missing = 0
        """Trades known to be missing; opaque ids add nothing here."""

    def go_on_from(self, symbol: str, ref: int | str, ts_event: int) -> None:
        """Take the last trade that an earlier session saw of a (cleaned) symbol, before any of this one's."""
        stream = self._streams[symbol] = _Stream()
        stream.last, stream.ts, stream.broken = ref, ts_event, BETWEEN_SESSIONS

    def observe(self, symbol: str, ids: Iterable[Print], ts_recv: int) -> None:
        """Take the trades of one frame and one (cleaned) symbol."""
        stream = self._streams.get(symbol)
        if stream is None:
            stream = self._streams[symbol] = _Stream()
        for trade in sorted(ids, key=_number):
            if self._contiguous and isinstance(trade.ref, int):
                self._count_up(stream, symbol, (trade.ref, trade.span), trade.ts_event, ts_recv)
            else:
                self._opaque(stream, symbol, trade, ts_recv)

    def skip(self, symbol: str, ref: int, ts_recv: int) -> None:
        """Take the id of a trade that was left out knowingly."""
        if self._contiguous and (stream := self._streams.get(symbol)) is not None:
            self._count_up(stream, symbol, (ref, 1), stream.ts, ts_recv)

    def _count_up(self, stream: _Stream, symbol: str, ids: tuple[int, int], ts_event: int, ts_recv: int) -> None:
        (ref, span), last = ids, stream.last
        if not isinstance(last, int):
            stream.last, stream.ts, stream.broken = ref, ts_event, None
        elif ref > last:
            if ref - span > last:
                cause = stream.broken or "trade_id"
                stream.jumps.append(_Jump(last, ref - span + 1, cause, stream.ts, ts_event, ts_recv))
                self._jumping[symbol] = None
            stream.last, stream.ts, stream.broken = ref, ts_event, None
        else:
            for jump in stream.jumps:
                if jump.after < ref < jump.until and len(jump.late) < _LATE_IDS:
                    jump.late.update(range(max(jump.after + 1, ref - min(span, _LATE_IDS) + 1), ref + 1))

    def _opaque(self, stream: _Stream, symbol: str, trade: Print, ts_recv: int) -> None:
        if stream.broken is not None and trade.ref != stream.last:
            self._record(symbol, stream.last, trade.ref, None, stream.broken, (stream.ts, trade.ts_event, ts_recv))
            stream.broken = None
        stream.last, stream.ts = trade.ref, trade.ts_event

    def interrupted(self, symbols: Iterable[str], cause: str) -> None:
        """Note that the connection which carried these (cleaned) symbols has ended."""
        for symbol in symbols:
            stream = self._streams.get(symbol)
            if stream is not None and stream.broken is None:
                stream.broken = cause

    def message_jump(self, last: int, now: int, ts_recv: int) -> None:
        """Record a jump in the venue's own count of messages."""
        self._record(WHOLE_VENUE, last, now, None, "sequence", (0, 0, ts_recv))

    def settle(self, now_ns: int) -> Sequence[GapRecord]:
        """Return the gaps that are certain by now."""
        for symbol in list(self._jumping):
            jumps = self._streams[symbol].jumps
            while jumps and now_ns - jumps[0].found >= SETTLE_NS:
                self._close(symbol, jumps.pop(0))
            if not jumps:
                del self._jumping[symbol]
        return self._taken()

    def finish(self, now_ns: int) -> Sequence[GapRecord]:
        """Return all that is left at the end: open jumps, and streams that broke and never came back."""
        for symbol, stream in self._streams.items():
            for jump in stream.jumps:
                self._close(symbol, jump)
            stream.jumps.clear()
            self._jumping.pop(symbol, None)
            if stream.broken is not None:
                self._record(symbol, stream.last, None, None, stream.broken, (stream.ts, 0, now_ns))
                stream.broken = None
        return self._taken()

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

    def _taken(self) -> Sequence[GapRecord]:
        found, self._found = self._found, []
        return found


def _number(trade: Print) -> int:
    """Order contiguous ids by number; opaque ones keep the order in which they came."""
    return trade.ref if isinstance(trade.ref, int) else 0
