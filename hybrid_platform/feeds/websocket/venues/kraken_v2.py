"""Kraken: websocket API v2, the ``trade`` channel.

Prices and quantities are JSON numbers with trailing zeros; ``side`` is the taker's. The ``snapshot`` holds the last
50 trades before the subscription. Trade ids are "a sequence number, unique per book". Kraken sends a heartbeat every
second and accepts application-level pings.
https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/trade
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
_TRADE_MESSAGE = msgspec.json.Decoder(_TradeMessage)


class KrakenV2(Venue):
    """``{"channel": "trade", "type": "update", "data": [{…}, …]}``."""

    name = "kraken_v2"
    markets: ClassVar = {"spot": ("KRAKEN", "wss://ws.kraken.com/v2")}
    contiguous = True
    ping = Ping('{"method":"ping"}', 30.0)

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return one message that asks for no snapshot."""
        return [self._request("subscribe", symbols)]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the message for the same channel."""
        return [self._request("unsubscribe", symbols)]

    def _request(self, method: str, symbols: Sequence[str]) -> str:
        params: dict[str, object] = {"channel": "trade", "symbol": [symbol.upper() for symbol in symbols]}
        return to_json({"method": method, "params": params | ({"snapshot": False} if method == "subscribe" else {})})

    def read(self, frame: str) -> Decoded:
        """Decode one frame, which holds any number of trades."""
        message = _FRAME.decode(frame)
        if message.method:
            return Decoded(ignored=message.method, close_reason="" if message.success else stated_reason(message.error))
        if message.channel != "trade":
            return Decoded(ignored=message.channel or "unknown")
        return collect_trades(_TRADES.decode(message.data), _to_trade, history=message.type == "snapshot")


def _to_trade(raw: msgspec.Raw) -> Trade:
    trade = _TRADE_MESSAGE.decode(raw)
    return Trade(
        raw_text(trade.symbol),
        parse_price(trade.price),
        parse_size(trade.qty),
        aggressor_from_taker(raw_text(trade.side)),
        parse_trade_id(trade.trade_id),
        parse_time(trade.timestamp, "iso"),
    )
