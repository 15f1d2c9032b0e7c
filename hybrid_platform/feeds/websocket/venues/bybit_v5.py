"""Bybit v5: ``publicTrade`` of spot, linear and inverse markets.

``S`` is the taker's side. Trade ids are opaque (UUIDs on derivatives), and ``seq`` counts all changes of the book, so
neither can reveal a gap. ``type`` is ``snapshot`` in every message, also for new trades.
https://bybit-exchange.github.io/docs/v5/websocket/public/trade
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from hybrid_platform.feeds.websocket.parsing import (
    ABSENT,
    aggressor_from_taker,
    parse_price,
    parse_size,
    parse_time,
    parse_trade_id,
    raw_text,
    stated_reason,
    to_json,
)
from hybrid_platform.feeds.websocket.venue import Decoded, Ping, Trade, Venue, collect_trades


class _TradeMessage(msgspec.Struct):
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
_TRADE_MESSAGE = msgspec.json.Decoder(_TradeMessage)


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
        """Return one message; spot allows ten topics in each."""
        return [self._request("subscribe", symbols)]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the message for the same topics."""
        return [self._request("unsubscribe", symbols)]

    def _request(self, op: str, symbols: Sequence[str]) -> str:
        return to_json({"op": op, "args": [f"publicTrade.{symbol.upper()}" for symbol in symbols]})

    def read(self, frame: str) -> Decoded:
        """Decode one frame, which holds any number of trades."""
        message = _FRAME.decode(frame)
        if message.op:
            return Decoded(ignored=message.op, close_reason="" if message.success else stated_reason(message.ret_msg))
        kind = message.topic.partition(".")[0]
        if kind != "publicTrade":
            return Decoded(ignored=kind or "unknown")
        return collect_trades(_TRADES.decode(message.data), _to_trade)


def _to_trade(raw: msgspec.Raw) -> Trade:
    trade = _TRADE_MESSAGE.decode(raw)
    return Trade(
        raw_text(trade.s),
        parse_price(trade.p),
        parse_size(trade.v),
        aggressor_from_taker(raw_text(trade.S)),
        parse_trade_id(trade.i),
        parse_time(trade.T, "ms"),
    )
