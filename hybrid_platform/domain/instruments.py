"""Instruments: a symbol at a venue, with the rules of trading it, interned to small integers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

import msgspec

from hybrid_platform.domain.decimals import DEFAULT_SCALE

SYMBOL_PATTERN = re.compile(r"[A-Z0-9][A-Z0-9._/:-]{0,31}")


def clean_symbol(text: object) -> str:
    """Return the symbol upper-cased; raise ValueError unless it is a sane one (DESIGN 4).

    Only ASCII counts: full-width letters are rejected, not folded.
    """
    if isinstance(text, str) and len(text) <= 32 and text.isascii():
        symbol = text.upper()
        if SYMBOL_PATTERN.fullmatch(symbol):
            return symbol
    shown = repr(text) if not isinstance(text, str) or len(text) <= 32 else repr(text[:32]) + "…"
    raise ValueError(f"expected a symbol matching {SYMBOL_PATTERN.pattern}, got {shown}")


class Instrument(msgspec.Struct, frozen=True):
    """A symbol at a venue. Rules that are None do not bind; quantities are in units of base."""

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
    """None: the execution settings decide."""
    taker_fee_bps: Decimal | None = None
    fixed_fee: Decimal = Decimal(0)
    """In quote currency, per fill."""
    inferred: bool = True
    """The rules were not stated by anybody; an inferred rule never denies an order."""
    active: bool = True
    """Stated as tradable; an order for one that is not is vetoed."""

    @property
    def key(self) -> tuple[str, str]:
        """Identity: ``(venue, symbol)``."""
        return self.venue, self.symbol


def infer_instrument(venue: str, symbol: str, quote: str = "USD") -> Instrument:
    """Return an instrument without stated rules; ``SOL/USDC`` names its own base and quote."""
    base, slash, after = symbol.partition("/")
    return Instrument(venue, symbol, base=base, quote=after if slash and after else quote)


class InstrumentTable:
    """A session's instruments by small integer, append-only: index -> Instrument.

    Owned by the feed, which adds; read by every later stage (an index is published only inside
    ticks that were made after it, so no lock is needed).
    """

    def __init__(self, stated: dict[tuple[str, str], Instrument] | None = None, quote: str = "USD") -> None:
        self._stated = stated or {}
        self._quote = quote
        self._items: list[Instrument] = []
        self._index: dict[tuple[str, str], int] = {}

    def intern(self, venue: str, symbol: str, inferred: Instrument | None = None) -> int:
        """Return the index of ``(venue, symbol)``, adding it where it is new.

        ``inferred`` is what the feed knows of the instrument, for where nobody stated it.
        """
        key = (venue, symbol)
        index = self._index.get(key)
        if index is None:
            self.add(self._stated.get(key) or inferred or infer_instrument(venue, symbol, self._quote))
            index = self._index[key]
        return index

    def find(self, venue: str, symbol: str) -> int | None:
        """Return the index of ``(venue, symbol)``, or None where it has not been seen."""
        return self._index.get((venue, symbol))

    def add(self, instrument: Instrument) -> int:
        """Append an instrument and return its index; raise ValueError where its key is there."""
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
