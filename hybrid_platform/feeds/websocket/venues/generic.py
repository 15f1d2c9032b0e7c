"""Any venue that sends JSON: the settings say where things stand in it (`JsonPaths`).

Numbers are taken as they stand in the text, so they are as exact here as with a venue's own decoder.
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
    Decoded,
    Ping,
    Print,
    Venue,
    collect,
    id_of,
    price_of,
    size_of,
    text_of,
    time_of,
    to_json,
)
from hybrid_platform.settings.websocket import FeedSource, FrameFormat, JsonPaths

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_ANY = msgspec.json.Decoder(msgspec.Raw)
_ROOT = "$."


class Generic(Venue):
    """A venue by its settings alone."""

    name = "generic"
    markets: ClassVar = {"spot": ("GENERIC", "")}
    message_gap_s = 0.1

    def __init__(self, form: FrameFormat) -> None:
        super().__init__(form)
        if form.generic is None:
            raise ConfigError([Fault("generic", "where things stand in the frames", "null")])
        self._paths: JsonPaths = form.generic
        self.contiguous = form.generic.contiguous_ids
        self.url = (form.url if isinstance(form, FeedSource) else None) or ""
        if form.generic.ping is not None:
            self.ping = Ping(form.generic.ping, form.generic.ping_seconds)

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """The settings' messages with the symbols put in."""
        return _filled(self._paths.subscribe, symbols)

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """The settings' messages with the symbols put in."""
        return _filled(self._paths.unsubscribe, symbols)

    def read(self, frame: str) -> Decoded:
        """Decode one frame: one trade, or a list of them."""
        paths, whole = self._paths, _ANY.decode(frame)
        if not _holds(whole, paths.when):
            return Decoded(ignored="other")
        found = _at(whole, paths.trades)
        if found is ABSENT:
            return Decoded(ignored="no_trades")
        trades = _LIST.decode(found) if paths.trades and bytes(found).startswith(b"[") else [found]
        history = bool(paths.history) and _holds(whole, paths.history)
        return collect(trades, lambda trade: self._print(trade, whole), history=history)

    def _print(self, trade: msgspec.Raw, whole: msgspec.Raw) -> Print:
        paths = self._paths

        def value(path: str) -> msgspec.Raw:
            return _at(whole, path.removeprefix(_ROOT)) if path.startswith(_ROOT) else _at(trade, path)

        aggressor = AGGRESSOR_UNKNOWN
        if paths.side is not None:
            stated = text_of(value(paths.side)).lower()
            aggressor = {paths.sell.lower(): AGGRESSOR_SELL, paths.buy.lower(): AGGRESSOR_BUY}.get(stated, aggressor)
        return Print(
            "" if paths.symbol is None else text_of(value(paths.symbol)),
            price_of(value(paths.price)),
            Decimal(0) if paths.size is None else size_of(value(paths.size)),
            aggressor,
            None if paths.trade_id is None else id_of(value(paths.trade_id)),
            time_of(value(paths.ts), paths.ts_unit),
        )


def _filled(messages: Sequence[str], symbols: Sequence[str]) -> list[str]:
    filled: list[str] = []
    for message in messages:
        whole = message.replace("{symbols}", to_json(list(symbols)))
        filled += [whole.replace("{symbol}", s) for s in symbols] if "{symbol}" in whole else [whole]
    return filled


def _holds(whole: msgspec.Raw, conditions: Mapping[str, str]) -> bool:
    return all(text_of(_at(whole, path)) == text for path, text in conditions.items())


def _at(raw: msgspec.Raw, path: str) -> msgspec.Raw:
    """Return what stands at a path, or `ABSENT`."""
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
