"""Value parsers shared by all venues: exact numbers, times, ids and sides from JSON text, and log samples (S5).

in: the text of one JSON value · out: Decimals made from the digits as they were sent, integer nanoseconds since the
Unix epoch, UTC; or `InvalidValueError` with a stable cause. Pure.
"""

from __future__ import annotations

import re
from decimal import Decimal

import msgspec

from hybrid_platform.domain.decimals import parse_decimal, to_units
from hybrid_platform.domain.ticks import AGGRESSOR_BUY, AGGRESSOR_SELL, AGGRESSOR_UNKNOWN, parse_trade_ref
from hybrid_platform.domain.times import UNIT_DIGITS, is_market_time, parse_iso

ABSENT = msgspec.Raw(b"null")
"""Value of a missing field; parsing it as a price, size, time or id fails."""
SAMPLE_CHARS = 200
_SAMPLE_SCAN_CHARS = 2_000
"""Characters of a frame that are read for a sample, so that a huge frame costs no more than a small one."""
UNKNOWN_QUOTE = "UNKNOWN"

_SEPARATOR = re.compile(r"[-/_:]")
_QUOTES = (
    *("FDUSD", "USDT", "USDC", "USDP", "USDE", "USD1", "TUSD", "BUSD", "GUSD", "PYUSD", "RLUSD", "DAI"),
    *("USD", "EUR", "GBP", "JPY", "AUD", "CAD", "CHF", "SGD", "TRY", "BRL", "MXN", "ZAR", "PLN", "ARS", "COP", "IDR"),
    *("BTC", "XBT", "ETH", "BNB", "SOL", "XRP", "TRX", "DOGE"),
)
_QUOTES_BY_LENGTH = sorted(_QUOTES, key=len, reverse=True)
_SECRETS = (
    (re.compile(r"-----BEGIN.*", re.DOTALL), "***"),
    (re.compile(r"eyJ[\w-]{5,}(?:\.[\w-]*){1,2}"), "***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s\"',;}]+"), r"\1 ***"),
    (re.compile(r"://[^/@\s\"']+@"), "://***@"),
    (
        re.compile(
            r"(?i)((?:token|secret|passw\w*|passphrase|api_?-?key|signature|authorization|listen_?key|jwt|cookie)"
            r"[\"']?\s*[:=]\s*)(?:\"(?:[^\"\\]|\\.)*\"?|[^\s\"',;&}]+)"
        ),
        r"\1***",
    ),
)


class InvalidValueError(ValueError):
    """A value that cannot become part of a tick; it is counted under ``cause``."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def to_json(message: object) -> str:
    """Return a message to a venue as JSON text."""
    return msgspec.json.encode(message).decode()


def raw_text(raw: msgspec.Raw) -> str:
    """Return the text of a JSON value without its quotes; escapes are not decoded."""
    text = bytes(raw)
    if text.startswith(b'"'):
        text = text[1:-1]
    return text.decode("ascii", "replace")


def stated_reason(raw: msgspec.Raw) -> str:
    """Return the reason that a venue gives for refusing, fit for a log."""
    text = raw_text(raw)
    return "no reason given" if text in {"", "null"} else make_sample(text)


def parse_price(raw: msgspec.Raw) -> Decimal:
    """Return an exact price above zero from a JSON number or numeric string; raise InvalidValueError."""
    price = _parse_number(raw, "bad_price")
    if price <= 0:
        raise InvalidValueError("bad_price")
    return price


def parse_size(raw: msgspec.Raw) -> Decimal:
    """Return an exact size of at least zero from a JSON number or numeric string; raise InvalidValueError."""
    size = _parse_number(raw, "bad_size")
    if size < 0:
        raise InvalidValueError("bad_size")
    return size


def _parse_number(raw: msgspec.Raw, cause: str) -> Decimal:
    try:
        return parse_decimal(raw_text(raw))
    except ValueError:
        raise InvalidValueError(cause) from None


def parse_time(raw: msgspec.Raw, unit: str) -> int:
    """Return nanoseconds from s, ms, us, ns (number or numeric string) or iso; raise InvalidValueError(``bad_time``).

    An ISO time needs a time of day to the second and a ``Z`` or an offset.
    """
    text = raw_text(raw)
    try:
        ts_ns = parse_iso(text, complete=True) if unit == "iso" else to_units(parse_decimal(text), UNIT_DIGITS[unit])
    except ValueError:
        raise InvalidValueError("bad_time") from None
    if not is_market_time(ts_ns):
        raise InvalidValueError("bad_time")
    return ts_ns


def parse_trade_id(raw: msgspec.Raw | str) -> int | str:
    """Return a venue's trade id as `parse_trade_ref` defines it; raise InvalidValueError(``bad_trade_id``).

    An unquoted JSON value is an id only if it consists of digits.
    """
    quoted = isinstance(raw, str) or bytes(raw).startswith(b'"')
    text = raw if isinstance(raw, str) else raw_text(raw)
    try:
        if quoted or text.isdigit():
            return parse_trade_ref(text)
    except ValueError:
        pass
    raise InvalidValueError("bad_trade_id")


def aggressor_from_taker(side: str) -> int:
    """Return the aggressor of a trade whose taker's side is given; an unknown word means an unknown side."""
    match side.lower():
        case "buy" | "b":
            return AGGRESSOR_BUY
        case "sell" | "s":
            return AGGRESSOR_SELL
    return AGGRESSOR_UNKNOWN


def aggressor_from_maker(side: str) -> int:
    """Return the aggressor of a trade whose maker's side is given: the opposite side."""
    return -aggressor_from_taker(side)


def base_and_quote(symbol: str) -> tuple[str, str]:
    """Split a cleaned symbol: ``BTC-USD``, ``BTC/USDT:USDT``, ``ETHBTC``, ``BTCUSD_PERP``, ``BTC-USDT-SWAP``.

    The quote of an unknown spelling is `UNKNOWN_QUOTE`: risk caps are in USD, so orders for such a symbol must be
    rejected instead of being counted in dollars.
    """
    first, *rest = _SEPARATOR.split(symbol)
    if rest and ("/" in symbol or rest[0] in _QUOTES):
        return first, rest[0]
    for quote in _QUOTES_BY_LENGTH:
        if first.endswith(quote) and first != quote:
            return first.removesuffix(quote), quote
    return first, UNKNOWN_QUOTE


def redact(text: str) -> str:
    """Return ``text`` with everything that looks like a credential replaced by ``***``."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def make_sample(frame: bytes | str) -> str:
    """Return the beginning of a frame for a log: redacted, one line of printable ASCII, at most `SAMPLE_CHARS`."""
    head = frame[:_SAMPLE_SCAN_CHARS]
    text = head.decode("utf-8", "backslashreplace") if isinstance(head, bytes) else head
    shown = ascii(redact(text))[1:-1]
    return shown if len(shown) <= SAMPLE_CHARS else shown[: SAMPLE_CHARS - 1] + "…"
