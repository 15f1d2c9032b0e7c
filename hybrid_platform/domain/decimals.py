"""Exact numbers: strict decimals, and integers in units of 10^-scale for prices and sizes in hot paths.

All external numbers are parsed here, because ``float()`` accepts ``1_000``, Arabic digits, and ``nan``, and
``int(Decimal("1e200000"))`` takes a second.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow

DEFAULT_SCALE = 9
MAX_SCALE = 18
INT64_MAX = 2**63 - 1
_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?")
_MAX_ADJUSTED = 60
"""Prices, sizes, and amounts of money have magnitudes within 1e-60 … 1e60."""

MONEY = Context(prec=120, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])
"""Context that adds and multiplies exactly or raises; divide in a context that states its rounding."""

_QUANTA = tuple(Decimal(1).scaleb(-scale) for scale in range(MAX_SCALE + 1))


def parse_decimal(value: object) -> Decimal:
    """Return an integer, float (its shortest form counts), string, or Decimal as a finite Decimal.

    Raises ValueError for anything else: booleans, NaN, infinities, ``1_000``, non-ASCII digits,
    magnitudes outside 1e-60 … 1e60.
    """
    if isinstance(value, bool):
        raise ValueError(f"expected a number, got {value!r}")
    if isinstance(value, Decimal):
        number = value
    elif isinstance(value, int):
        if value.bit_length() > 200:
            raise ValueError(f"expected a number below 1e{_MAX_ADJUSTED}, got a larger integer")
        number = Decimal(value)
    elif isinstance(value, float):
        number = Decimal(repr(value))
    elif isinstance(value, str) and len(value) <= 100 and _DECIMAL.fullmatch(value):
        number = Decimal(value)
    else:
        shown = value if not isinstance(value, str) or len(value) <= 40 else value[:40] + "…"
        raise ValueError(f"expected a decimal number, got {shown!r}")
    if not number.is_finite():
        raise ValueError(f"expected a finite number, got {number}")
    if number and abs(number.adjusted()) > _MAX_ADJUSTED:
        raise ValueError(f"expected a magnitude within 1e±{_MAX_ADJUSTED}, got {number:.6E}")
    return number


def to_units(value: Decimal, scale: int) -> int:
    """Return ``value`` as an integer count of 10^-scale.

    Raises ValueError for a value with more decimals than ``scale``, or beyond 64 bits.
    """
    scaled = value.scaleb(scale, MONEY)
    units = int(scaled)
    if units != scaled:
        raise ValueError(f"expected at most {scale} decimals, got {canonical(value)}")
    if abs(units) > INT64_MAX:
        raise ValueError(f"expected at most {INT64_MAX} units of 1e-{scale}, got {canonical(value)}")
    return units


def from_units(units: int, scale: int) -> Decimal:
    """Return an integer count of 10^-scale as an exact Decimal."""
    return MONEY.multiply(_QUANTA[scale], units) if 0 <= scale <= MAX_SCALE else Decimal(units).scaleb(-scale, MONEY)


def canonical(value: Decimal) -> str:
    """Return the canonical text of a number: no exponent, no trailing zeros, no negative zero."""
    if not value:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
