"""Binance: spot, USD-M and COIN-M futures; ``trade`` or ``aggTrade`` of combined streams.

``T`` is the trade's time in ms. ``m`` is true if the buyer was the maker, so the seller was the aggressor. On COIN-M
``q`` counts contracts, not coins. Futures trades with ``X`` other than MARKET (insurance fund, auto-deleveraging)
are left out, as Binance itself leaves them out of ``aggTrade``: their prices never were market prices.
https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from hybrid_platform.domain.ticks import AGGRESSOR_BUY, AGGRESSOR_SELL, AGGRESSOR_UNKNOWN
from hybrid_platform.feeds.websocket.parsing import (
    ABSENT,
    parse_price,
    parse_size,
    parse_time,
    parse_trade_id,
    raw_text,
    stated_reason,
    to_json,
)
from hybrid_platform.feeds.websocket.venue import Decoded, Trade, Venue
from hybrid_platform.settings.websocket import FrameFormat

_AGGRESSOR = {"true": AGGRESSOR_SELL, "false": AGGRESSOR_BUY}
_IDS = {"trade": "t", "aggTrade": "a"}


class _Event(msgspec.Struct):
    """One event of a stream; events other than trades use the same letters with other meanings."""

    e: str = ""
    s: msgspec.Raw = ABSENT
    t: msgspec.Raw = ABSENT
    a: msgspec.Raw = ABSENT
    p: msgspec.Raw = ABSENT
    q: msgspec.Raw = ABSENT
    T: msgspec.Raw = ABSENT
    m: msgspec.Raw = ABSENT
    X: msgspec.Raw = msgspec.Raw(b"MARKET")


class _Frame(_Event):
    """The envelope of a combined stream, an event of a raw stream, or an answer to a request."""

    data: msgspec.Raw = ABSENT
    id: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT


_FRAME = msgspec.json.Decoder(_Frame)
_EVENT = msgspec.json.Decoder(_Event)


class Binance(Venue):
    """``{"stream": …, "data": {"e": "trade", …}}``; ids increase by one per symbol and stream."""

    name = "binance"
    markets: ClassVar = {
        "spot": ("BINANCE", "wss://stream.binance.com:9443/stream"),
        "usdm": ("BINANCE_USDM", "wss://fstream.binance.com/market/stream"),
        "coinm": ("BINANCE_COINM", "wss://dstream.binance.com/stream"),
    }
    contiguous = True

    def __init__(self, form: FrameFormat) -> None:
        super().__init__(form)
        self._stream = form.stream or ("trade" if form.market in {None, "spot"} else "aggTrade")
        self._events = {form.stream} if form.stream else set(_IDS)

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return one message: Binance accepts any number of streams in it, but few messages per second."""
        return [self._request("SUBSCRIBE", symbols)]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the message for the same streams."""
        return [self._request("UNSUBSCRIBE", symbols)]

    def _request(self, method: str, symbols: Sequence[str]) -> str:
        return to_json({"method": method, "params": [f"{s.lower()}@{self._stream}" for s in symbols], "id": 1})

    def read(self, frame: str) -> Decoded:
        """Decode one frame, which holds at most one trade."""
        message = _FRAME.decode(frame)
        if message.error is not ABSENT:
            return Decoded(ignored="error", close_reason=stated_reason(message.error))
        if bytes(message.data).startswith(b"["):
            return Decoded(ignored="list")
        event = message if message.data is ABSENT else _EVENT.decode(message.data)
        if event.e not in self._events:
            return Decoded(ignored=event.e or ("ack" if message.id is not ABSENT else "unknown"))
        symbol, ref = raw_text(event.s), parse_trade_id(getattr(event, _IDS[event.e]))
        if (kind := raw_text(event.X)) != "MARKET":
            return Decoded(ignored=f"{event.e}:{kind}", skipped=((symbol, ref),) if isinstance(ref, int) else ())
        aggressor = _AGGRESSOR.get(raw_text(event.m), AGGRESSOR_UNKNOWN)
        price, size, time = parse_price(event.p), parse_size(event.q), parse_time(event.T, "ms")
        return Decoded(trades=(Trade(symbol, price, size, aggressor, ref, time),))
