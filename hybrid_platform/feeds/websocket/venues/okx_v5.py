"""OKX v5: the public ``trades`` channel.

``side`` is the taker's. One entry may stand for ``count`` fills of one taker order at one price;
``tradeId`` is then the id of the last of them, so ids are contiguous when ``count`` is reckoned in.
The server closes after 30 s without a message: the client sends the text ``ping``, gets ``pong``.
https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-trades-channel
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from hybrid_platform.feeds.websocket.parsing import (
    ABSENT,
    Decoded,
    Ping,
    Print,
    UnusableError,
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


class _Trade(msgspec.Struct, rename={"inst_id": "instId", "trade_id": "tradeId"}):
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
_TRADE = msgspec.json.Decoder(_Trade)


class OkxV5(Venue):
    """``{"arg": {"channel": "trades", …}, "data": [{…}, …]}``."""

    name = "okx_v5"
    markets: ClassVar = {"spot": ("OKX", "wss://ws.okx.com:8443/ws/v5/public")}
    contiguous = True
    ping = Ping("ping", 20.0)

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """One message."""
        return [self._request("subscribe", symbols)]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """The same channels."""
        return [self._request("unsubscribe", symbols)]

    def _request(self, op: str, symbols: Sequence[str]) -> str:
        return to_json({"op": op, "args": [{"channel": "trades", "instId": s.upper()} for s in symbols]})

    def read(self, frame: str) -> Decoded:
        """Decode one frame: any number of trades."""
        if frame == "pong":
            return Decoded(ignored="pong")
        message = _FRAME.decode(frame)
        if message.event:
            # `notice` announces that this connection is about to be closed for an upgrade.
            ends = said(message.msg) if message.event in {"error", "notice"} else ""
            return Decoded(ignored=message.event, ends=ends)
        if message.arg.channel != "trades":
            return Decoded(ignored=message.arg.channel or "unknown")
        return collect(_TRADES.decode(message.data), _print)


def _print(raw: msgspec.Raw) -> Print:
    trade = _TRADE.decode(raw)
    count = text_of(trade.count)
    if not (count.isdigit() and len(count) <= 9 and int(count) >= 1):
        raise UnusableError("bad_count")
    return Print(
        text_of(trade.inst_id),
        price_of(trade.px),
        size_of(trade.sz),
        taker(text_of(trade.side)),
        id_of(trade.trade_id),
        time_of(trade.ts, "ms"),
        int(count),
    )
