"""Meaning of one cell: the definition, one value at a time (S5).

in: a cell as text, integer, Decimal, float, bool or None · out: exact numbers, sides, ids, or `RowError` with a stable
cause. The fast path in `columns` must agree with this module; a property test compares them.
"""

from __future__ import annotations

import re
from decimal import Decimal

from hybrid_platform.domain.decimals import parse_decimal, to_units
from hybrid_platform.domain.ticks import AGGRESSOR_BUY, AGGRESSOR_SELL, AGGRESSOR_UNKNOWN, parse_trade_ref

PADDING = " \t"
"""Characters that may surround a value."""
_ZEROS = re.compile(r"(?<![0-9.])0+(?=[0-9])")

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
    # Here the cell tells whether the buyer was the maker; if so, the aggressor sold.
    "true": AGGRESSOR_SELL,
    "false": AGGRESSOR_BUY,
}


class RowError(ValueError):
    """A row that cannot become a tick; it is counted under ``cause``."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def parse_number(cell: object, cause: str) -> Decimal:
    """Return a cell's exact number; raise RowError(``cause``) if it is not a number.

    Padding and leading zeros, also those of an exponent, are ignored.
    """
    try:
        return parse_decimal(_ZEROS.sub("", cell.strip(PADDING)) if isinstance(cell, str) else cell)
    except ValueError:
        raise RowError(cause) from None


def convert_to_units(value: Decimal, scale: int, name: str) -> int:
    """Return ``value`` in units of 10^-scale; raise RowError(``<name>_does_not_fit``)."""
    try:
        return to_units(value, scale)
    except ValueError:
        raise RowError(f"{name}_does_not_fit") from None


def parse_side(cell: object) -> int:
    """Return the aggressor's side, unknown for an empty cell; raise RowError(``bad_side``)."""
    text = "" if cell is None else str(cell) if isinstance(cell, bool) else cell
    found = SIDES.get(text.strip(PADDING).lower()) if isinstance(text, str) else None
    if found is None:
        raise RowError("bad_side")
    return found


def parse_trade_id(cell: object) -> int | str | None:
    """Return the trade id as `parse_trade_ref` defines it, None for an empty cell; raise RowError(``bad_trade_id``)."""
    if cell is None:
        return None
    text = cell.strip(PADDING) if isinstance(cell, str) else None
    if text == "":
        return None
    try:
        return parse_trade_ref(text or "")
    except ValueError:
        raise RowError("bad_trade_id") from None
