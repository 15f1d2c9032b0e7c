"""What one cell means: the careful definition, one value at a time (S5).

in: a cell as text, integer, Decimal, float, bool or None · out: exact numbers, sides, ids, or
`RowError` with a stable cause. The fast path in `rules` must agree with this file; a property test
holds them together.
"""

from __future__ import annotations

import re
from decimal import Decimal

from hybrid_platform.domain.decimals import INT64_MAX, parse_decimal, to_units
from hybrid_platform.domain.ticks import AGGRESSOR_BUY, AGGRESSOR_SELL, AGGRESSOR_UNKNOWN

PADDING = " \t"
"""What may stand around a value."""
_ZEROS = re.compile(r"(?<![0-9.])0+(?=[0-9])")
_INTEGER = re.compile(r"-?[1-9][0-9]{0,18}|0")
_TRADE_ID = re.compile(r"[!-~]{1,64}")

SIDES = {
    "": AGGRESSOR_UNKNOWN,
    "0": AGGRESSOR_UNKNOWN,
    "unknown": AGGRESSOR_UNKNOWN,
    "buy": AGGRESSOR_BUY,
    "b": AGGRESSOR_BUY,
    "1": AGGRESSOR_BUY,
    "sell": AGGRESSOR_SELL,
    "s": AGGRESSOR_SELL,
    "-1": AGGRESSOR_SELL,
    # Whether the buyer was the maker: then the aggressor sold.
    "true": AGGRESSOR_SELL,
    "false": AGGRESSOR_BUY,
}


class RowError(ValueError):
    """A row that is no tick; ``cause`` is the name under which it is counted."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def number(cell: object, cause: str) -> Decimal:
    """Return a cell's exact number; raise RowError(``cause``) for what is none.

    Padding around it and leading zeros (of an exponent too) say nothing and are left out.
    """
    try:
        return parse_decimal(_ZEROS.sub("", cell.strip(PADDING)) if isinstance(cell, str) else cell)
    except ValueError:
        raise RowError(cause) from None


def units(value: Decimal, scale: int, name: str) -> int:
    """Return ``value`` in units of 10^-scale; raise RowError(``<name>_does_not_fit``)."""
    try:
        return to_units(value, scale)
    except ValueError:
        raise RowError(f"{name}_does_not_fit") from None


def side(cell: object) -> int:
    """Return the aggressor's side; nothing there means unknown. Raises RowError(``bad_side``)."""
    text = "" if cell is None else str(cell) if isinstance(cell, bool) else cell
    found = SIDES.get(text.strip(PADDING).lower()) if isinstance(text, str) else None
    if found is None:
        raise RowError("bad_side")
    return found


def trade_ref(cell: object) -> int | str | None:
    """Return the venue's trade id: an int64 where that says the same, else at most 64 printable characters."""
    if cell is None:
        return None
    text = cell.strip(PADDING) if isinstance(cell, str) else None
    if text == "":
        return None
    if text is None or not _TRADE_ID.fullmatch(text):
        raise RowError("bad_trade_id")
    if _INTEGER.fullmatch(text) and -INT64_MAX - 1 <= int(text) <= INT64_MAX:
        return int(text)
    return text
