"""Coinbase Advanced Trade: the ``market_trades`` channel.

``side`` is the MAKER's, as on Coinbase Exchange: NautilusTrader's adapter states it ("Coinbase
reports the maker side on public market trades, so the aggressor is the opposite side",
https://nautilustrader.io/docs/rust-api-latest/nautilus_coinbase/http/parse/fn.coinbase_side_to_aggressor.html),
and in a capture that also holds the book, every SELL traded at the ask and every BUY at the bid.
A message lists its trades newest first, also those of one instant (their ids decrease). The ``snapshot`` after
subscribing is history. Without ``heartbeats`` a quiet channel is closed after 60 s.
https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/websocket/market-trades
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
from hybrid_platform.feeds.websocket.venue import Decoded, Trade, Venue, collect_trades


class _TradeMessage(msgspec.Struct):
    product_id: msgspec.Raw = ABSENT
    trade_id: msgspec.Raw = ABSENT
    price: msgspec.Raw = ABSENT
    size: msgspec.Raw = ABSENT
    time: msgspec.Raw = ABSENT
    side: msgspec.Raw = ABSENT


class _Event(msgspec.Struct):
    type: str = ""
    trades: list[msgspec.Raw] = []


class _Frame(msgspec.Struct):
    channel: str = ""
    type: str = ""
    message: msgspec.Raw = ABSENT
    sequence_num: int | None = None
    events: msgspec.Raw = msgspec.Raw(b"[]")


_FRAME = msgspec.json.Decoder(_Frame)
_EVENTS = msgspec.json.Decoder(list[_Event])
_TRADE_MESSAGE = msgspec.json.Decoder(_TradeMessage)


class CoinbaseAdvanced(Venue):
    """``{"channel": "market_trades", "events": [{"type": …, "trades": […]}]}``; messages are numbered."""

    name = "coinbase_advanced"
    markets: ClassVar = {"spot": ("COINBASE", "wss://advanced-trade-ws.coinbase.com")}
    contiguous = True

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return one message per channel, as Coinbase requires."""
        return self._requests("subscribe", symbols)

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the messages for the same channels."""
        return self._requests("unsubscribe", symbols)

    def _requests(self, kind: str, symbols: Sequence[str]) -> list[str]:
        products = [symbol.upper() for symbol in symbols]
        return [
            to_json({"type": kind, "product_ids": products, "channel": "market_trades"}),
            to_json({"type": kind, "channel": "heartbeats"}),
        ]

    def read(self, frame: str) -> Decoded:
        """Decode one frame, which holds any number of events, each a snapshot or an update."""
        message = _FRAME.decode(frame)
        sequence = message.sequence_num
        if message.type == "error":
            return Decoded(ignored="error", close_reason=stated_reason(message.message))
        if message.channel != "market_trades":
            return Decoded(ignored=message.channel or "unknown", sequence=sequence)
        events = _EVENTS.decode(message.events)
        past = collect_trades((t for e in events if e.type == "snapshot" for t in e.trades), _to_trade, history=True)
        new = collect_trades(
            (t for e in events if e.type != "snapshot" for t in e.trades), _to_trade, newest_first=True
        )
        return new._replace(history=past.history, rejected=past.rejected + new.rejected, sequence=sequence)


def _to_trade(raw: msgspec.Raw) -> Trade:
    trade = _TRADE_MESSAGE.decode(raw)
    return Trade(
        raw_text(trade.product_id),
        parse_price(trade.price),
        parse_size(trade.size),
        aggressor_from_maker(raw_text(trade.side)),
        parse_trade_id(trade.trade_id),
        parse_time(trade.time, "iso"),
    )
