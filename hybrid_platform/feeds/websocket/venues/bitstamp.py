"""Bitstamp v2: ``live_trades`` channels.

``type`` is the taker's side (0 buy, 1 sell). Numbers are also sent as floats, so only the ``*_str`` fields are read;
``microtimestamp`` is the finer clock. Ids are shared by all pairs, so a jump in one pair's ids is not a gap. Only the
channel's name contains the pair.
https://www.bitstamp.net/websocket/v2/
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
from hybrid_platform.feeds.websocket.venue import Decoded, Ping, Trade, Venue

_CHANNEL = "live_trades_"
_AGGRESSOR = {"0": AGGRESSOR_BUY, "1": AGGRESSOR_SELL}


class _TradeMessage(msgspec.Struct):
    id: msgspec.Raw = ABSENT
    price_str: msgspec.Raw = ABSENT
    amount_str: msgspec.Raw = ABSENT
    microtimestamp: msgspec.Raw = ABSENT
    type: msgspec.Raw = ABSENT


class _Frame(msgspec.Struct):
    event: str = ""
    channel: str = ""
    data: msgspec.Raw = ABSENT


_FRAME = msgspec.json.Decoder(_Frame)
_TRADE_MESSAGE = msgspec.json.Decoder(_TradeMessage)


class Bitstamp(Venue):
    """``{"event": "trade", "channel": "live_trades_btcusd", "data": {…}}``."""

    name = "bitstamp"
    markets: ClassVar = {"spot": ("BITSTAMP", "wss://ws.bitstamp.net")}
    per_message = 1
    message_gap_s = 0.05
    ping = Ping('{"event":"bts:heartbeat"}', 30.0)

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return one message per pair."""
        return [self._request("bts:subscribe", symbol) for symbol in symbols]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the messages for the same channels."""
        return [self._request("bts:unsubscribe", symbol) for symbol in symbols]

    def _request(self, event: str, symbol: str) -> str:
        return to_json({"event": event, "data": {"channel": _CHANNEL + symbol.lower()}})

    def read(self, frame: str) -> Decoded:
        """Decode one frame, which holds at most one trade."""
        message = _FRAME.decode(frame)
        if message.event in {"bts:error", "bts:request_reconnect"}:
            return Decoded(ignored=message.event, close_reason=f"{message.event}: {stated_reason(message.data)}")
        if message.event != "trade" or not message.channel.startswith(_CHANNEL):
            return Decoded(ignored=message.event if message.event != "data" else message.channel.rpartition("_")[0])
        trade = _TRADE_MESSAGE.decode(message.data)
        parsed = Trade(
            message.channel.removeprefix(_CHANNEL),
            parse_price(trade.price_str),
            parse_size(trade.amount_str),
            _AGGRESSOR.get(raw_text(trade.type), AGGRESSOR_UNKNOWN),
            parse_trade_id(trade.id),
            parse_time(trade.microtimestamp, "us"),
        )
        return Decoded(trades=(parsed,))
