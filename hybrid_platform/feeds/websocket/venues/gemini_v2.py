"""Gemini: market data v2.

Trades are sent on the ``l2`` channel only. ``side`` is the taker's. The first ``l2_updates`` of a symbol carries its
last 50 trades, which are history. ``event_id`` counts all events of the exchange, so a jump is not a gap. Quantities
of BTC have up to ten decimals. Gemini sends a heartbeat every 5 s.
https://docs.gemini.com/websocket/market-data/v2
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
from hybrid_platform.feeds.websocket.venue import Decoded, Trade, Venue, collect_trades


class _TradeMessage(msgspec.Struct):
    type: str = ""
    symbol: msgspec.Raw = ABSENT
    event_id: msgspec.Raw = ABSENT
    price: msgspec.Raw = ABSENT
    quantity: msgspec.Raw = ABSENT
    timestamp: msgspec.Raw = ABSENT
    side: msgspec.Raw = ABSENT


class _Frame(_TradeMessage):
    """A trade, or a message with the book and past trades."""

    trades: list[msgspec.Raw] = []
    result: str = ""
    message: msgspec.Raw = ABSENT


_FRAME = msgspec.json.Decoder(_Frame)
_TRADE_MESSAGE = msgspec.json.Decoder(_TradeMessage)


class GeminiV2(Venue):
    """``{"type": "trade", "symbol": "BTCUSD", …}``."""

    name = "gemini_v2"
    markets: ClassVar = {"spot": ("GEMINI", "wss://api.gemini.com/v2/marketdata")}

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return one message."""
        return [self._request("subscribe", symbols)]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the message for the same channel."""
        return [self._request("unsubscribe", symbols)]

    def _request(self, kind: str, symbols: Sequence[str]) -> str:
        names = [symbol.upper() for symbol in symbols]
        return to_json({"type": kind, "subscriptions": [{"name": "l2", "symbols": names}]})

    def size_scale(self, symbol: str) -> int:
        """Return ten decimals for BTC; the others (some trade by the billion) have at most nine."""
        return 10 if symbol.startswith("BTC") else super().size_scale(symbol)

    def read(self, frame: str) -> Decoded:
        """Decode one frame, which holds one trade or the history of one symbol."""
        message = _FRAME.decode(frame)
        if message.type == "trade":
            return Decoded(trades=(_to_trade(message),))
        if message.result == "error":
            return Decoded(ignored="error", close_reason=stated_reason(message.message))
        if message.trades:
            return collect_trades(message.trades, lambda raw: _to_trade(_TRADE_MESSAGE.decode(raw)), history=True)
        return Decoded(ignored=message.type or "unknown")


def _to_trade(trade: _TradeMessage) -> Trade:
    return Trade(
        raw_text(trade.symbol),
        parse_price(trade.price),
        parse_size(trade.quantity),
        aggressor_from_taker(raw_text(trade.side)),
        parse_trade_id(trade.event_id),
        parse_time(trade.timestamp, "ms"),
    )
