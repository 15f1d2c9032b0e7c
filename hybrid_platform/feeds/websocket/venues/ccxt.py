"""Every other exchange, through ccxt.pro (the extra ``ccxt``, imported when it is used).

`CcxtTransport` turns each delivery of ccxt back into a frame (a JSON list of its unified trades), so that recording,
decoding and accounting are the same as for any other venue. ``side`` is the taker's. Numbers are read from ccxt's
text, never from its floats. Trades in ccxt's cache from before the subscription look like new ones.
https://docs.ccxt.com
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
)
from hybrid_platform.feeds.websocket.venue import Decoded, Trade, Venue, collect_trades
from hybrid_platform.settings.websocket import FrameFormat


class _TradeMessage(msgspec.Struct):
    symbol: msgspec.Raw = ABSENT
    id: msgspec.Raw = ABSENT
    price: msgspec.Raw = ABSENT
    amount: msgspec.Raw = ABSENT
    timestamp: msgspec.Raw = ABSENT
    side: msgspec.Raw = ABSENT


_TRADES = msgspec.json.Decoder(list[msgspec.Raw])
_TRADE_MESSAGE = msgspec.json.Decoder(_TradeMessage)


class Ccxt(Venue):
    """``[{"symbol": "BTC/USDT", "price": …, "amount": …, "timestamp": …, "side": …, "id": …}, …]``."""

    name = "ccxt"
    markets: ClassVar = {"spot": ("CCXT", "")}

    def __init__(self, form: FrameFormat) -> None:
        super().__init__(form)
        self.label = form.label or (form.exchange or "ccxt").upper()

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return no message: ccxt subscribes by itself."""
        return []

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return no message: ccxt closes by itself."""
        return []

    def read(self, frame: str) -> Decoded:
        """Decode one delivery, which holds any number of trades."""
        return collect_trades(_TRADES.decode(frame), _to_trade)


def _to_trade(raw: msgspec.Raw) -> Trade:
    trade = _TRADE_MESSAGE.decode(raw)
    return Trade(
        raw_text(trade.symbol),
        parse_price(trade.price),
        parse_size(trade.amount),
        aggressor_from_taker(raw_text(trade.side)),
        None if bytes(trade.id) == b"null" else parse_trade_id(trade.id),
        parse_time(trade.timestamp, "ms"),
    )
