"""Coinbase Exchange: the ``matches`` channel.

``side`` is the MAKER's ("The side field indicates the maker order side"), so the aggressor is the opposite side.
``last_match`` is sent once per product after subscribing; it is an old trade and counts as history.
https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from hybrid_platform.feeds.websocket.parsing import (
    ABSENT,
    aggressor_from_maker,
    parse_price,
    parse_size,
    parse_time,
    parse_trade_id,
    raw_text,
    stated_reason,
    to_json,
)
from hybrid_platform.feeds.websocket.venue import Decoded, Trade, Venue


class _Frame(msgspec.Struct):
    type: str = ""
    product_id: msgspec.Raw = ABSENT
    trade_id: msgspec.Raw = ABSENT
    price: msgspec.Raw = ABSENT
    size: msgspec.Raw = ABSENT
    side: msgspec.Raw = ABSENT
    time: msgspec.Raw = ABSENT
    message: msgspec.Raw = ABSENT
    reason: msgspec.Raw = ABSENT


_FRAME = msgspec.json.Decoder(_Frame)


class CoinbaseExchange(Venue):
    """``{"type": "match", …}``; trade ids increase by one per product."""

    name = "coinbase_exchange"
    markets: ClassVar = {"spot": ("COINBASE", "wss://ws-feed.exchange.coinbase.com")}
    contiguous = True

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return one message; its heartbeats keep the connection of a quiet product open."""
        return [self._request("subscribe", symbols)]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the message for the same channels."""
        return [self._request("unsubscribe", symbols)]

    def _request(self, kind: str, symbols: Sequence[str]) -> str:
        products = [symbol.upper() for symbol in symbols]
        return to_json({"type": kind, "product_ids": products, "channels": ["matches", "heartbeat"]})

    def read(self, frame: str) -> Decoded:
        """Decode one frame, which holds at most one trade."""
        message = _FRAME.decode(frame)
        if message.type == "error":
            reason = f"{stated_reason(message.message)}: {stated_reason(message.reason)}"
            return Decoded(ignored="error", close_reason=reason)
        if message.type not in {"match", "last_match"}:
            return Decoded(ignored=message.type or "unknown")
        trade = Trade(
            raw_text(message.product_id),
            parse_price(message.price),
            parse_size(message.size),
            aggressor_from_maker(raw_text(message.side)),
            parse_trade_id(message.trade_id),
            parse_time(message.time, "iso"),
        )
        return Decoded(trades=(trade,)) if message.type == "match" else Decoded(history=1)
