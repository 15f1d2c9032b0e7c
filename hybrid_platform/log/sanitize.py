"""Any value as plain JSON data that is safe to write: redacted, printable, finite, bounded; never raises.

in: what somebody put into a log field · out: None, bool, int, float, str, list, dict.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from decimal import Decimal
from enum import Enum
from itertools import islice
from numbers import Integral, Real

import msgspec

from hybrid_platform.domain.exact import canonical
from hybrid_platform.security.redaction import MASK, is_secret_name, printable, safe

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]

MAX_CHARACTERS = 4_000
MAX_ITEMS = 256
MAX_DEPTH = 6
_MAX_BITS = 256
_MAX_EXPONENT = 60


def plain_fields(fields: Mapping[str, object], depth: int = 0) -> dict[str, Plain]:
    """Return named values as plain JSON data; what a secret-sounding name holds is masked."""
    shown: dict[str, Plain] = {}
    for key, value in islice(fields.items(), MAX_ITEMS):
        name = safe(key if isinstance(key, str) else str(plain(key, MAX_DEPTH)), MAX_CHARACTERS)
        secret = is_secret_name(name) and isinstance(value, str | bytes | Mapping | list | tuple)
        shown[name] = MASK if secret else plain(value, depth + 1)
    if len(fields) > MAX_ITEMS:
        shown["…"] = f"{len(fields) - MAX_ITEMS} more"
    return shown


def plain(value: object, depth: int = 0) -> Plain:
    """Return a value as plain JSON data: Decimal as exact text, enum as its value, NaN as text."""
    try:
        return _plain(value, depth)
    except Exception:  # noqa: BLE001, RUF100  # a repr, an items() or a __len__ of somebody else's: never worth a session
        return f"<{type(value).__name__} that cannot be shown>"


def _plain(value: object, depth: int) -> Plain:  # noqa: C901, PLR0911, PLR0912, RUF100
    match value:
        case None | bool():
            return value
        case Enum():
            return plain(value.value, depth)
        case str():
            return safe(value, MAX_CHARACTERS)
        case Decimal():
            small = value.is_finite() and abs(value.adjusted()) <= _MAX_EXPONENT
            return printable(canonical(value) if small else str(value), MAX_CHARACTERS)
        case Integral():
            number = int(value)
            return number if number.bit_length() <= _MAX_BITS else f"integer of {number.bit_length()} bits"
        case Real():
            real = float(value)
            return real if abs(real) < float("inf") else str(real)
        case bytes():
            return safe(value[: MAX_CHARACTERS * 2].decode("utf-8", "backslashreplace"), MAX_CHARACTERS)
        case BaseException():
            return safe(f"{type(value).__name__}: {value}", MAX_CHARACTERS)
    if depth >= MAX_DEPTH:
        return "…"
    match value:
        case msgspec.Struct():
            return plain_fields(msgspec.structs.asdict(value), depth)
        case Mapping():
            return plain_fields(value, depth)
        case tuple() if hasattr(value, "_asdict"):
            return plain_fields(value._asdict(), depth)
        case list() | tuple() | Set():
            shown = [plain(item, depth + 1) for item in islice(value, MAX_ITEMS)]
            return shown if len(value) <= MAX_ITEMS else [*shown, f"… {len(value) - MAX_ITEMS} more"]
    return safe(str(value), MAX_CHARACTERS)
