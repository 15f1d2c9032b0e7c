"""Bybit v5: ``publicTrade`` of spot, linear and inverse markets.

``S`` is the taker's side. Trade ids are opaque (UUIDs on derivatives), and ``seq`` counts the whole
book, so no jump can be seen in them. ``type`` says ``snapshot`` on every message, new trades too.
https://bybit-exchange.github.io/docs/v5/websocket/public/trade
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from hybrid_platform.feeds.websocket.parsing import (
    ABSENT,
    Decoded,
    Ping,
    Print,
    Venue,
    collect,
    id_of,
    price_of,
    said,
    size_of,
    taker,
    text_of,
    time_of,
    to_json,
)


class _Trade(msgspec.Struct):
    s: msgspec.Raw = ABSENT
    i: msgspec.Raw = ABSENT
    p: msgspec.Raw = ABSENT
    v: msgspec.Raw = ABSENT
    T: msgspec.Raw = ABSENT
    S: msgspec.Raw = ABSENT


class _Frame(msgspec.Struct):
    topic: str = ""
    data: msgspec.Raw = ABSENT
    op: str = ""
    success: bool = True
    ret_msg: msgspec.Raw = ABSENT


_FRAME = msgspec.json.Decoder(_Frame)
_TRADES = msgspec.json.Decoder(list[msgspec.Raw])
_TRADE = msgspec.json.Decoder(_Trade)


class BybitV5(Venue):
    """``{"topic": "publicTrade.BTCUSDT", "data": [{…}, …]}``."""

    name = "bybit_v5"
    markets: ClassVar = {
        "spot": ("BYBIT", "wss://stream.bybit.com/v5/public/spot"),
        "linear": ("BYBIT_LINEAR", "wss://stream.bybit.com/v5/public/linear"),
        "inverse": ("BYBIT_INVERSE", "wss://stream.bybit.com/v5/public/inverse"),
    }
    per_message = 10
    ping = Ping('{"op":"ping"}', 20.0)

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """One message: spot allows ten topics in each."""
        return [self._request("subscribe", symbols)]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """The same topics."""
        return [self._request("unsubscribe", symbols)]

    def _request(self, op: str, symbols: Sequence[str]) -> str:
        return to_json({"op": op, "args": [f"publicTrade.{symbol.upper()}" for symbol in symbols]})

    def read(self, frame: str) -> Decoded:
        """Decode one frame: any number of trades."""
        message = _FRAME.decode(frame)
        if message.op:
            return Decoded(ignored=message.op, ends="" if message.success else said(message.ret_msg))
        kind = message.topic.partition(".")[0]
        if kind != "publicTrade":
            return Decoded(ignored=kind or "unknown")
        return collect(_TRADES.decode(message.data), _print)


def _print(raw: msgspec.Raw) -> Print:
    trade = _TRADE.decode(raw)
    return Print(
        text_of(trade.s),
        price_of(trade.p),
        size_of(trade.v),
        taker(text_of(trade.S)),
        id_of(trade.i),
        time_of(trade.T, "ms"),
    )
