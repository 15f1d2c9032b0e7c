"""Kraken: websocket API v2, the ``trade`` channel.

Prices and quantities are JSON numbers, trailing zeros and all; ``side`` is the taker's. The
``snapshot`` is the last 50 trades before the subscription. Trade ids are "a sequence number, unique
per book". Kraken sends a heartbeat every second and takes its own ping.
https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/trade
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
    symbol: msgspec.Raw = ABSENT
    trade_id: msgspec.Raw = ABSENT
    price: msgspec.Raw = ABSENT
    qty: msgspec.Raw = ABSENT
    timestamp: msgspec.Raw = ABSENT
    side: msgspec.Raw = ABSENT


class _Frame(msgspec.Struct):
    channel: str = ""
    type: str = ""
    data: msgspec.Raw = ABSENT
    method: str = ""
    success: bool = True
    error: msgspec.Raw = ABSENT


_FRAME = msgspec.json.Decoder(_Frame)
_TRADES = msgspec.json.Decoder(list[msgspec.Raw])
_TRADE = msgspec.json.Decoder(_Trade)


class KrakenV2(Venue):
    """``{"channel": "trade", "type": "update", "data": [{…}, …]}``."""

    name = "kraken_v2"
    markets: ClassVar = {"spot": ("KRAKEN", "wss://ws.kraken.com/v2")}
    contiguous = True
    ping = Ping('{"method":"ping"}', 30.0)

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """One message, asking for no snapshot."""
        return [self._request("subscribe", symbols)]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """The same channel."""
        return [self._request("unsubscribe", symbols)]

    def _request(self, method: str, symbols: Sequence[str]) -> str:
        params: dict[str, object] = {"channel": "trade", "symbol": [symbol.upper() for symbol in symbols]}
        return to_json({"method": method, "params": params | ({"snapshot": False} if method == "subscribe" else {})})

    def read(self, frame: str) -> Decoded:
        """Decode one frame: any number of trades."""
        message = _FRAME.decode(frame)
        if message.method:
            return Decoded(ignored=message.method, ends="" if message.success else said(message.error))
        if message.channel != "trade":
            return Decoded(ignored=message.channel or "unknown")
        return collect(_TRADES.decode(message.data), _print, history=message.type == "snapshot")


def _print(raw: msgspec.Raw) -> Print:
    trade = _TRADE.decode(raw)
    return Print(
        text_of(trade.symbol),
        price_of(trade.price),
        size_of(trade.qty),
        taker(text_of(trade.side)),
        id_of(trade.trade_id),
        time_of(trade.timestamp, "iso"),
    )
