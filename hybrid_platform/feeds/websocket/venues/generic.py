"""Any venue that sends JSON; the settings give the path of each field (`JsonPaths`).

Numbers are read from their text, so they are as exact as with a decoder written for the venue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import ClassVar

import msgspec

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.ticks import AGGRESSOR_BUY, AGGRESSOR_SELL, AGGRESSOR_UNKNOWN
from hybrid_platform.feeds.websocket.parsing import (
    ABSENT,
    parse_price,
    parse_size,
    parse_time,
    parse_trade_id,
    raw_text,
    to_json,
)
from hybrid_platform.feeds.websocket.venue import Decoded, Ping, Trade, Venue, collect_trades
from hybrid_platform.settings.websocket import FeedSource, FrameFormat, JsonPaths

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_ANY = msgspec.json.Decoder(msgspec.Raw)
_ROOT = "$."


class Generic(Venue):
    """A venue that is described by settings alone."""

    name = "generic"
    markets: ClassVar = {"spot": ("GENERIC", "")}
    message_gap_s = 0.1

    def __init__(self, form: FrameFormat) -> None:
        super().__init__(form)
        if form.generic is None:
            raise ConfigError([Fault("generic", "the paths of the fields in a frame", "null")])
        self._paths: JsonPaths = form.generic
        self.contiguous = form.generic.contiguous_ids
        self.url = (form.url if isinstance(form, FeedSource) else None) or ""
        if form.generic.ping is not None:
            self.ping = Ping(form.generic.ping, form.generic.ping_seconds)

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the settings' messages with the symbols filled in."""
        return _fill_in(self._paths.subscribe, symbols)

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the settings' messages with the symbols filled in."""
        return _fill_in(self._paths.unsubscribe, symbols)

    def read(self, frame: str) -> Decoded:
        """Decode one frame, which holds one trade or a list of them."""
        paths, whole = self._paths, _ANY.decode(frame)
        if not _matches(whole, paths.when):
            return Decoded(ignored="other")
        found = _find(whole, paths.trades)
        if found is ABSENT:
            return Decoded(ignored="no_trades")
        trades = _LIST.decode(found) if paths.trades and bytes(found).startswith(b"[") else [found]
        history = bool(paths.history) and _matches(whole, paths.history)
        return collect_trades(trades, lambda trade: self._to_trade(trade, whole), history=history)

    def _to_trade(self, trade: msgspec.Raw, whole: msgspec.Raw) -> Trade:
        paths = self._paths

        def value(path: str) -> msgspec.Raw:
            return _find(whole, path.removeprefix(_ROOT)) if path.startswith(_ROOT) else _find(trade, path)

        aggressor = AGGRESSOR_UNKNOWN
        if paths.side is not None:
            stated = raw_text(value(paths.side)).lower()
            aggressor = {paths.sell.lower(): AGGRESSOR_SELL, paths.buy.lower(): AGGRESSOR_BUY}.get(stated, aggressor)
        return Trade(
            "" if paths.symbol is None else raw_text(value(paths.symbol)),
            parse_price(value(paths.price)),
            Decimal(0) if paths.size is None else parse_size(value(paths.size)),
            aggressor,
            None if paths.trade_id is None else parse_trade_id(value(paths.trade_id)),
            parse_time(value(paths.ts), paths.ts_unit),
        )


def _fill_in(messages: Sequence[str], symbols: Sequence[str]) -> list[str]:
    filled: list[str] = []
    for message in messages:
        whole = message.replace("{symbols}", to_json(list(symbols)))
        filled += [whole.replace("{symbol}", s) for s in symbols] if "{symbol}" in whole else [whole]
    return filled


def _matches(whole: msgspec.Raw, conditions: Mapping[str, str]) -> bool:
    return all(raw_text(_find(whole, path)) == text for path, text in conditions.items())


def _find(raw: msgspec.Raw, path: str) -> msgspec.Raw:
    """Return the value at a path, or `ABSENT`."""
    for key in path.split(".") if path else ():
        first = bytes(raw)[:1]
        if first == b"{":
            raw = _OBJECT.decode(raw).get(key, ABSENT)
        elif first == b"[" and key.isdecimal() and len(key) < 10:
            items = _LIST.decode(raw)
            raw = items[int(key)] if int(key) < len(items) else ABSENT
        else:
            return ABSENT
    return raw
