"""Coinbase Advanced Trade: the ``market_trades`` channel.

``side`` is the MAKER's, as on Coinbase Exchange: NautilusTrader's adapter states it ("Coinbase
reports the maker side on public market trades, so the aggressor is the opposite side",
https://nautilustrader.io/docs/rust-api-latest/nautilus_coinbase/http/parse/fn.coinbase_side_to_aggressor.html),
and in a capture with the book beside it every SELL printed at the ask and every BUY at the bid.
Trades of a message are listed newest first, those of one instant too (their ids fall). The
``snapshot`` on subscribing is history. Without ``heartbeats`` a quiet channel is closed after 60 s.
https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/websocket/market-trades
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
    taker_of_maker,
    text_of,
    time_of,
    to_json,
)


class _Trade(msgspec.Struct):
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
_TRADE = msgspec.json.Decoder(_Trade)


class CoinbaseAdvanced(Venue):
    """``{"channel": "market_trades", "events": [{"type": …, "trades": […]}]}``; messages are counted."""

    name = "coinbase_advanced"
    markets: ClassVar = {"spot": ("COINBASE", "wss://advanced-trade-ws.coinbase.com")}
    contiguous = True

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """A message a channel, as Coinbase demands."""
        return self._requests("subscribe", symbols)

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """The same channels."""
        return self._requests("unsubscribe", symbols)

    def _requests(self, kind: str, symbols: Sequence[str]) -> list[str]:
        products = [symbol.upper() for symbol in symbols]
        return [
            to_json({"type": kind, "product_ids": products, "channel": "market_trades"}),
            to_json({"type": kind, "channel": "heartbeats"}),
        ]

    def read(self, frame: str) -> Decoded:
        """Decode one frame: any number of events, each a snapshot or an update."""
        message = _FRAME.decode(frame)
        sequence = message.sequence_num
        if message.type == "error":
            return Decoded(ignored="error", ends=said(message.message))
        if message.channel != "market_trades":
            return Decoded(ignored=message.channel or "unknown", sequence=sequence)
        events = _EVENTS.decode(message.events)
        past = collect((t for e in events if e.type == "snapshot" for t in e.trades), _print, history=True)
        new = collect((t for e in events if e.type != "snapshot" for t in e.trades), _print, newest_first=True)
        return new._replace(history=past.history, rejected=past.rejected + new.rejected, sequence=sequence)


def _print(raw: msgspec.Raw) -> Print:
    trade = _TRADE.decode(raw)
    return Print(
        text_of(trade.product_id),
        price_of(trade.price),
        size_of(trade.size),
        taker_of_maker(text_of(trade.side)),
        id_of(trade.trade_id),
        time_of(trade.time, "iso"),
    )
