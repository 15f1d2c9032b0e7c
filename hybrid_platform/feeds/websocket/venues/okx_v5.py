"""OKX v5: the public ``trades`` channel.

``side`` is the taker's. One entry may stand for ``count`` fills of one taker order at one price; ``tradeId`` is then
the id of the last of them, so ids are contiguous if ``count`` is taken into account. The server closes a connection
after 30 s without a message: the client sends the text ``ping`` and receives ``pong``.
https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-trades-channel
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from hybrid_platform.feeds.websocket.parsing import (
    ABSENT,
    InvalidValueError,
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


class _TradeMessage(msgspec.Struct, rename={"inst_id": "instId", "trade_id": "tradeId"}):
    inst_id: msgspec.Raw = ABSENT
    trade_id: msgspec.Raw = ABSENT
    px: msgspec.Raw = ABSENT
    sz: msgspec.Raw = ABSENT
    ts: msgspec.Raw = ABSENT
    side: msgspec.Raw = ABSENT
    count: msgspec.Raw = msgspec.Raw(b"1")


class _Argument(msgspec.Struct, frozen=True):
    channel: str = ""


class _Frame(msgspec.Struct):
    event: str = ""
    msg: msgspec.Raw = ABSENT
    arg: _Argument = _Argument()
    data: msgspec.Raw = ABSENT


_FRAME = msgspec.json.Decoder(_Frame)
_TRADES = msgspec.json.Decoder(list[msgspec.Raw])
_TRADE_MESSAGE = msgspec.json.Decoder(_TradeMessage)


class OkxV5(Venue):
    """``{"arg": {"channel": "trades", …}, "data": [{…}, …]}``."""

    name = "okx_v5"
    markets: ClassVar = {"spot": ("OKX", "wss://ws.okx.com:8443/ws/v5/public")}
    contiguous = True
    ping = Ping("ping", 20.0)

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return one message."""
        return [self._request("subscribe", symbols)]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the message for the same channels."""
        return [self._request("unsubscribe", symbols)]

    def _request(self, op: str, symbols: Sequence[str]) -> str:
        return to_json({"op": op, "args": [{"channel": "trades", "instId": s.upper()} for s in symbols]})

    def read(self, frame: str) -> Decoded:
        """Decode one frame, which holds any number of trades."""
        if frame == "pong":
            return Decoded(ignored="pong")
        message = _FRAME.decode(frame)
        if message.event:
            # A `notice` announces that the server will close this connection for an upgrade.
            reason = stated_reason(message.msg) if message.event in {"error", "notice"} else ""
            return Decoded(ignored=message.event, close_reason=reason)
        if message.arg.channel != "trades":
            return Decoded(ignored=message.arg.channel or "unknown")
        return collect_trades(_TRADES.decode(message.data), _to_trade)


def _to_trade(raw: msgspec.Raw) -> Trade:
    trade = _TRADE_MESSAGE.decode(raw)
    count = raw_text(trade.count)
    if not (count.isdigit() and len(count) <= 9 and int(count) >= 1):
        raise InvalidValueError("bad_count")
    return Trade(
        raw_text(trade.inst_id),
        parse_price(trade.px),
        parse_size(trade.sz),
        aggressor_from_taker(raw_text(trade.side)),
        parse_trade_id(trade.trade_id),
        parse_time(trade.ts, "ms"),
        int(count),
    )
