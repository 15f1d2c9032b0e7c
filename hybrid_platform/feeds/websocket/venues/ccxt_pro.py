"""Every other exchange, through ccxt.pro (the extra ``ccxt``, imported when it is used).

ccxt speaks to the exchange; what it hands over is turned back into a frame (a JSON list of its
unified trades), so that recording, decoding and accounting are the same as for any other venue.
``side`` is the taker's. Numbers are taken as ccxt's text, never as its floats. What ccxt's own
cache holds from before the subscription cannot be told from new trades. https://docs.ccxt.com
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
    size_of,
    taker,
    text_of,
    time_of,
)
from hybrid_platform.settings.websocket import FrameFormat


class _Trade(msgspec.Struct):
    symbol: msgspec.Raw = ABSENT
    id: msgspec.Raw = ABSENT
    price: msgspec.Raw = ABSENT
    amount: msgspec.Raw = ABSENT
    timestamp: msgspec.Raw = ABSENT
    side: msgspec.Raw = ABSENT


_TRADES = msgspec.json.Decoder(list[msgspec.Raw])
_TRADE = msgspec.json.Decoder(_Trade)


class Ccxt(Venue):
    """``[{"symbol": "BTC/USDT", "price": …, "amount": …, "timestamp": …, "side": …, "id": …}, …]``."""

    name = "ccxt"
    markets: ClassVar = {"spot": ("CCXT", "")}

    def __init__(self, form: FrameFormat) -> None:
        super().__init__(form)
        self.label = form.label or (form.exchange or "ccxt").upper()

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Ccxt subscribes by itself."""
        return []

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Ccxt closes by itself."""
        return []

    def read(self, frame: str) -> Decoded:
        """Decode one hand-over: any number of trades."""
        return collect(_TRADES.decode(frame), _print)


def _print(raw: msgspec.Raw) -> Print:
    trade = _TRADE.decode(raw)
    return Print(
        text_of(trade.symbol),
        price_of(trade.price),
        size_of(trade.amount),
        taker(text_of(trade.side)),
        None if bytes(trade.id) == b"null" else id_of(trade.id),
        time_of(trade.timestamp, "ms"),
    )
