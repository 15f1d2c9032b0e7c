"""Instruments: symbols at venues with their trading rules, interned to small integers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

import msgspec

from hybrid_platform.domain.decimals import DEFAULT_SCALE

SYMBOL_PATTERN = re.compile(r"[A-Z0-9][A-Z0-9._/:-]{0,31}")


def clean_symbol(text: object) -> str:
    """Return the symbol in upper case; raise ValueError unless it matches `SYMBOL_PATTERN`.

    Only ASCII is accepted: full-width letters are rejected, not folded.
    """
    if isinstance(text, str) and len(text) <= 32 and text.isascii():
        symbol = text.upper()
        if SYMBOL_PATTERN.fullmatch(symbol):
            return symbol
    shown = repr(text) if not isinstance(text, str) or len(text) <= 32 else repr(text[:32]) + "…"
    raise ValueError(f"expected a symbol matching {SYMBOL_PATTERN.pattern}, got {shown}")


class Instrument(msgspec.Struct, frozen=True):
    """A symbol at a venue. A rule that is None does not apply; quantities are in units of the base currency."""

    venue: str
    symbol: str
    base: str = ""
    quote: str = "USD"
    price_scale: int = DEFAULT_SCALE
    """Prices of ticks are integers of 10^-price_scale."""
    size_scale: int = DEFAULT_SCALE
    price_increment: Decimal | None = None
    size_increment: Decimal | None = None
    min_qty: Decimal | None = None
    max_qty: Decimal | None = None
    min_notional: Decimal | None = None
    max_notional: Decimal | None = None
    multiplier: Decimal = Decimal(1)
    maker_fee_bps: Decimal | None = None
    """None: the fee of the execution settings applies."""
    taker_fee_bps: Decimal | None = None
    fixed_fee: Decimal = Decimal(0)
    """In quote currency, per fill."""
    inferred: bool = True
    """Whether the rules are inferred instead of configured; an inferred rule never rejects an order."""
    active: bool = True
    """Whether it is configured as tradable; orders for an inactive instrument are rejected."""

    @property
    def key(self) -> tuple[str, str]:
        """Identity: ``(venue, symbol)``."""
        return self.venue, self.symbol


def infer_instrument(venue: str, symbol: str, quote: str = "USD") -> Instrument:
    """Return an instrument without configured rules; ``SOL/USDC`` states its own base and quote."""
    base, slash, after = symbol.partition("/")
    return Instrument(venue, symbol, base=base, quote=after if slash and after else quote)


class InstrumentTable:
    """A session's instruments by small integer, append-only: index -> Instrument.

    Owned by the feed, which adds instruments; read by every later stage. An index is published only in
    ticks created after it, so no lock is needed.
    """

    def __init__(self, stated: dict[tuple[str, str], Instrument] | None = None, quote: str = "USD") -> None:
        self._stated = stated or {}
        self._quote = quote
        self._items: list[Instrument] = []
        self._index: dict[tuple[str, str], int] = {}

    def intern(self, venue: str, symbol: str, inferred: Instrument | None = None) -> int:
        """Return the index of ``(venue, symbol)``, adding it if it is new.

        ``inferred`` holds the feed's knowledge of the instrument; it is used if the instrument is not configured.
        """
        key = (venue, symbol)
        index = self._index.get(key)
        if index is None:
            self.add(self._stated.get(key) or inferred or infer_instrument(venue, symbol, self._quote))
            index = self._index[key]
        return index

    def find(self, venue: str, symbol: str) -> int | None:
        """Return the index of ``(venue, symbol)``, or None if it has not been added."""
        return self._index.get((venue, symbol))

    def add(self, instrument: Instrument) -> int:
        """Append an instrument and return its index; raise ValueError if its key is already present."""
        if instrument.key in self._index:
            raise ValueError(f"expected a new instrument, got {instrument.key}")
        self._items.append(instrument)
        self._index[instrument.key] = len(self._items) - 1
        return len(self._items) - 1

    def __getitem__(self, index: int) -> Instrument:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(tuple(self._items))
