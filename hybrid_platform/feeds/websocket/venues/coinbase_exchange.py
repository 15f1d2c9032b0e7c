"""Coinbase Exchange: the ``matches`` channel.

``side`` is the MAKER's ("The side field indicates the maker order side"), so the aggressor is the
opposite. ``last_match`` comes once per product on subscribing: an old trade, hence history.
https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
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
    id_of,
    price_of,
    said,
    size_of,
    taker_of_maker,
    text_of,
    time_of,
    to_json,
)


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
    """``{"type": "match", …}``; trade ids count up by one per product."""

    name = "coinbase_exchange"
    markets: ClassVar = {"spot": ("COINBASE", "wss://ws-feed.exchange.coinbase.com")}
    contiguous = True

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """One message, with heartbeats, so that a quiet product's connection is kept open."""
        return [self._request("subscribe", symbols)]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """The same channels."""
        return [self._request("unsubscribe", symbols)]

    def _request(self, kind: str, symbols: Sequence[str]) -> str:
        products = [symbol.upper() for symbol in symbols]
        return to_json({"type": kind, "product_ids": products, "channels": ["matches", "heartbeat"]})

    def read(self, frame: str) -> Decoded:
        """Decode one frame: it holds at most one trade."""
        message = _FRAME.decode(frame)
        if message.type == "error":
            return Decoded(ignored="error", ends=f"{said(message.message)}: {said(message.reason)}")
        if message.type not in {"match", "last_match"}:
            return Decoded(ignored=message.type or "unknown")
        trade = Print(
            text_of(message.product_id),
            price_of(message.price),
            size_of(message.size),
            taker_of_maker(text_of(message.side)),
            id_of(message.trade_id),
            time_of(message.time, "iso"),
        )
        return Decoded(prints=(trade,)) if message.type == "match" else Decoded(history=1)
