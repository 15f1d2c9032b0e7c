"""Conversion of any value to JSON data that may be logged: redacted, printable, finite and bounded. It never raises.

In: the value of a log field. Out: None, bool, int, float, str, list or dict.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from decimal import Decimal
from enum import Enum
from functools import singledispatch
from itertools import islice
from numbers import Integral, Real
from types import NoneType
from typing import Any

import msgspec

from hybrid_platform.domain.decimals import canonical
from hybrid_platform.security.redaction import MASK, is_secret_name, sanitize_text, to_printable

JsonSafe = None | bool | int | float | str | list["JsonSafe"] | dict[str, "JsonSafe"]

MAX_CHARACTERS = 4_000
MAX_ITEMS = 256
MAX_DEPTH = 6
_MAX_BITS = 256
_MAX_EXPONENT = 60
_TOO_DEEP = "…"


def sanitize_fields(fields: Mapping[str, object], depth: int = 0) -> dict[str, JsonSafe]:
    """Return named values as JSON data; the value of a field with a secret-sounding name is masked."""
    safe: dict[str, JsonSafe] = {}
    for key, value in islice(fields.items(), MAX_ITEMS):
        name = sanitize_text(key if isinstance(key, str) else str(to_json_safe(key, MAX_DEPTH)), MAX_CHARACTERS)
        is_secret = is_secret_name(name) and isinstance(value, str | bytes | Mapping | list | tuple)
        safe[name] = MASK if is_secret else to_json_safe(value, depth + 1)
    if len(fields) > MAX_ITEMS:
        safe["…"] = f"{len(fields) - MAX_ITEMS} more"
    return safe


def to_json_safe(value: object, depth: int = 0) -> JsonSafe:
    """Return a value as JSON data: a Decimal as exact text, an enum member as its value, NaN as text."""
    try:
        return _convert(value, depth)
    except Exception:  # noqa: BLE001, RUF100  # a foreign repr, items() or __len__ that raises must not end a session
        return f"<{type(value).__name__} that cannot be shown>"


@singledispatch
def _convert(value: object, depth: int) -> JsonSafe:
    """Return a value as text if its type has no specific conversion."""
    return _TOO_DEEP if depth >= MAX_DEPTH else sanitize_text(str(value), MAX_CHARACTERS)


@_convert.register(bool)
@_convert.register(NoneType)
def _keep(value: bool | None, _depth: int) -> JsonSafe:
    return value


@_convert.register
def _convert_text(value: str, _depth: int) -> JsonSafe:
    return sanitize_text(value, MAX_CHARACTERS)


@_convert.register
def _convert_bytes(value: bytes, _depth: int) -> JsonSafe:
    return sanitize_text(value[: MAX_CHARACTERS * 2].decode("utf-8", "backslashreplace"), MAX_CHARACTERS)


@_convert.register
def _convert_enum(value: Enum, depth: int) -> JsonSafe:
    return to_json_safe(value.value, depth)


@_convert.register
def _convert_decimal(value: Decimal, _depth: int) -> JsonSafe:
    is_short = value.is_finite() and abs(value.adjusted()) <= _MAX_EXPONENT
    return to_printable(canonical(value) if is_short else str(value), MAX_CHARACTERS)


@_convert.register
def _convert_integer(value: Integral, _depth: int) -> JsonSafe:
    number = int(value)
    return number if number.bit_length() <= _MAX_BITS else f"integer of {number.bit_length()} bits"


@_convert.register
def _convert_real(value: Real, _depth: int) -> JsonSafe:
    number = float(value)
    return number if abs(number) < float("inf") else str(number)


@_convert.register
def _convert_error(value: BaseException, _depth: int) -> JsonSafe:
    return sanitize_text(f"{type(value).__name__}: {value}", MAX_CHARACTERS)


@_convert.register
def _convert_struct(value: msgspec.Struct, depth: int) -> JsonSafe:
    return _TOO_DEEP if depth >= MAX_DEPTH else sanitize_fields(msgspec.structs.asdict(value), depth)


@_convert.register
def _convert_mapping(value: Mapping, depth: int) -> JsonSafe:  # type: ignore[type-arg]
    return _TOO_DEEP if depth >= MAX_DEPTH else sanitize_fields(value, depth)


@_convert.register(list)
@_convert.register(tuple)
@_convert.register(Set)
def _convert_items(value: Any, depth: int) -> JsonSafe:
    if depth >= MAX_DEPTH:
        return _TOO_DEEP
    if isinstance(value, tuple) and hasattr(value, "_asdict"):  # a named tuple
        return sanitize_fields(value._asdict(), depth)
    items = [to_json_safe(item, depth + 1) for item in islice(value, MAX_ITEMS)]
    return items if len(value) <= MAX_ITEMS else [*items, f"… {len(value) - MAX_ITEMS} more"]
