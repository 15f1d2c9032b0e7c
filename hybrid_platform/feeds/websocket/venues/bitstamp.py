"""Bitstamp v2: ``live_trades`` channels.

``type`` is the taker's side (0 buy, 1 sell). Numbers come as floats too, so only the ``*_str``
fields are read; ``microtimestamp`` is the finer clock. Ids count all pairs together, so a jump in
one pair's ids says nothing. The pair stands in the channel's name alone.
https://www.bitstamp.net/websocket/v2/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from hybrid_platform.domain.ticks import AGGRESSOR_BUY, AGGRESSOR_SELL, AGGRESSOR_UNKNOWN
from hybrid_platform.feeds.websocket.parsing import (
    ABSENT,
    Decoded,
    Ping,
    Print,
    Venue,
    id_of,
    price_of,
    said,
    size_of,
    text_of,
    time_of,
    to_json,
)

_CHANNEL = "live_trades_"
_AGGRESSOR = {"0": AGGRESSOR_BUY, "1": AGGRESSOR_SELL}


class _Trade(msgspec.Struct):
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
_TRADE = msgspec.json.Decoder(_Trade)


class Bitstamp(Venue):
    """``{"event": "trade", "channel": "live_trades_btcusd", "data": {…}}``."""

    name = "bitstamp"
    markets: ClassVar = {"spot": ("BITSTAMP", "wss://ws.bitstamp.net")}
    per_message = 1
    message_gap_s = 0.05
    ping = Ping('{"event":"bts:heartbeat"}', 30.0)

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """A message a pair."""
        return [self._request("bts:subscribe", symbol) for symbol in symbols]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """The same channels."""
        return [self._request("bts:unsubscribe", symbol) for symbol in symbols]

    def _request(self, event: str, symbol: str) -> str:
        return to_json({"event": event, "data": {"channel": _CHANNEL + symbol.lower()}})

    def read(self, frame: str) -> Decoded:
        """Decode one frame: it holds at most one trade."""
        message = _FRAME.decode(frame)
        if message.event in {"bts:error", "bts:request_reconnect"}:
            return Decoded(ignored=message.event, ends=f"{message.event}: {said(message.data)}")
        if message.event != "trade" or not message.channel.startswith(_CHANNEL):
            return Decoded(ignored=message.event if message.event != "data" else message.channel.rpartition("_")[0])
        trade = _TRADE.decode(message.data)
        print_ = Print(
            message.channel.removeprefix(_CHANNEL),
            price_of(trade.price_str),
            size_of(trade.amount_str),
            _AGGRESSOR.get(text_of(trade.type), AGGRESSOR_UNKNOWN),
            id_of(trade.id),
            time_of(trade.microtimestamp, "us"),
        )
        return Decoded(prints=(print_,))
