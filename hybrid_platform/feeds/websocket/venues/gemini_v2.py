"""Gemini: market data v2.

Trades come with the ``l2`` channel only. ``side`` is the taker's. The first ``l2_updates`` of a
symbol carries its last 50 trades: history. ``event_id`` counts all events of the exchange, so a
jump in it says nothing. Quantities of BTC have up to ten decimals. Gemini sends a heartbeat every 5 s.
https://docs.gemini.com/websocket/market-data/v2
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from hybrid_platform.feeds.websocket.parsing import (
    ABSENT,
    Decoded,
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
    type: str = ""
    symbol: msgspec.Raw = ABSENT
    event_id: msgspec.Raw = ABSENT
    price: msgspec.Raw = ABSENT
    quantity: msgspec.Raw = ABSENT
    timestamp: msgspec.Raw = ABSENT
    side: msgspec.Raw = ABSENT


class _Frame(_Trade):
    """A trade itself, or a message that carries past trades beside the book."""

    trades: list[msgspec.Raw] = []
    result: str = ""
    message: msgspec.Raw = ABSENT


_FRAME = msgspec.json.Decoder(_Frame)
_TRADE = msgspec.json.Decoder(_Trade)


class GeminiV2(Venue):
    """``{"type": "trade", "symbol": "BTCUSD", …}``."""

    name = "gemini_v2"
    markets: ClassVar = {"spot": ("GEMINI", "wss://api.gemini.com/v2/marketdata")}

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """One message."""
        return [self._request("subscribe", symbols)]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """The same channel."""
        return [self._request("unsubscribe", symbols)]

    def _request(self, kind: str, symbols: Sequence[str]) -> str:
        names = [symbol.upper() for symbol in symbols]
        return to_json({"type": kind, "subscriptions": [{"name": "l2", "symbols": names}]})

    def size_scale(self, symbol: str) -> int:
        """Ten decimals for BTC; the others (some trade in thousands of millions) have at most nine."""
        return 10 if symbol.startswith("BTC") else super().size_scale(symbol)

    def read(self, frame: str) -> Decoded:
        """Decode one frame: one trade, or the history of one symbol."""
        message = _FRAME.decode(frame)
        if message.type == "trade":
            return Decoded(prints=(_of(message),))
        if message.result == "error":
            return Decoded(ignored="error", ends=said(message.message))
        if message.trades:
            return collect(message.trades, lambda raw: _of(_TRADE.decode(raw)), history=True)
        return Decoded(ignored=message.type or "unknown")


def _of(trade: _Trade) -> Print:
    return Print(
        text_of(trade.symbol),
        price_of(trade.price),
        size_of(trade.quantity),
        taker(text_of(trade.side)),
        id_of(trade.event_id),
        time_of(trade.timestamp, "ms"),
    )
