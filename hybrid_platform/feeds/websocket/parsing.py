"""What all venues' decoders share: exact values from JSON text, and a result that accounts for every frame (S5).

in: a frame, or the text of one value in it · out: `Decoded`, `Print`. Prices and sizes are Decimals
made of the digits that stood there, times integer nanoseconds since the Unix epoch, UTC. Pure.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from calendar import timegm
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from typing import ClassVar, NamedTuple

import msgspec

from hybrid_platform.domain.decimals import DEFAULT_SCALE, INT64_MAX, parse_decimal, to_units
from hybrid_platform.domain.ticks import AGGRESSOR_BUY, AGGRESSOR_SELL, AGGRESSOR_UNKNOWN
from hybrid_platform.feeds.websocket.sample import sample_of
from hybrid_platform.settings.websocket import FrameFormat

TIME_SCALE = {"s": 9, "ms": 6, "us": 3, "ns": 0}
"""Decimals between a unit of time and a nanosecond."""
EARLIEST_NS, LATEST_NS = 946_684_800 * 10**9, 4_102_444_800 * 10**9
"""2000 … 2100: outside it, the unit is wrong or the clock is."""

ABSENT = msgspec.Raw(b"null")
"""What a missing value reads as; no price, size, time or id can be made of it."""

_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_INTEGER = re.compile(r"0|[1-9][0-9]{0,18}")
_ID = re.compile(r"[!-~]{1,64}")
_by_time = attrgetter("ts_event")


class UnusableError(ValueError):
    """A value that no tick can be made of; ``cause`` is the name it is counted under."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class Print(NamedTuple):
    """One trade as a venue reported it."""

    symbol: str
    """The venue's own spelling."""
    price: Decimal
    size: Decimal
    side: int
    """The aggressor: 1 buyer, -1 seller, 0 unknown."""
    ref: int | str | None
    ts_event: int
    span: int = 1
    """How many of the venue's ids this print stands for, ``ref`` being the last of them."""


class Decoded(NamedTuple):
    """What one frame held: trades (as prints, history or rejections), or else an ignored kind."""

    prints: tuple[Print, ...] = ()
    """Oldest first."""
    history: int = 0
    """Trades from before the subscription."""
    ignored: str = ""
    """The kind of a frame that knowingly gives no tick: an ack, a heartbeat, a foreign channel."""
    rejected: tuple[tuple[str, str], ...] = ()
    """(cause, sample) of each trade, or of the whole frame, that could not be used."""
    ends: str = ""
    """Not empty: the venue refuses to serve or asks for a new connection, and this is why."""
    sequence: int | None = None
    """The venue's count of messages on this connection, where it keeps one."""
    seen: tuple[tuple[str, int], ...] = ()
    """(symbol, id) of trades left out knowingly, so that the next id is no gap."""


class Ping(NamedTuple):
    """A venue's own keepalive, beside websocket pings: what to send, and how often."""

    message: str
    seconds: float


class Venue(ABC):
    """How to talk to one venue, and how to read it. Stateless after construction."""

    name: ClassVar[str]
    markets: ClassVar[dict[str, tuple[str, str]]]
    """Market (``spot`` at least) -> what the instruments call the venue, and its URL."""
    contiguous: bool = False
    """Whether trade ids count up by one per symbol, so that a jump is a gap."""
    per_connection: ClassVar[int] = 200
    """Symbols one connection may carry."""
    per_message: ClassVar[int] = 100
    """Symbols one subscription message may name."""
    message_gap_s: ClassVar[float] = 0.25
    """Seconds between two subscription messages."""
    ping: Ping | None = None

    def __init__(self, form: FrameFormat) -> None:
        label, self.url = self.markets[form.market or "spot"]
        self.label = form.label or label

    @abstractmethod
    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the messages that subscribe to the trades of at most `per_message` symbols."""

    @abstractmethod
    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        """Return the messages that undo `subscribe`."""

    def size_scale(self, symbol: str) -> int:
        """Return the scale at which sizes of a (cleaned) symbol are kept, where nobody stated its instrument."""
        return DEFAULT_SCALE

    @abstractmethod
    def read(self, frame: str) -> Decoded:
        """Decode a frame; raises ValueError or RecursionError for what is malformed as a whole."""

    def decode(self, frame: bytes | str) -> Decoded:
        """Return what a frame held; never raises: what cannot be read is a rejection."""
        try:
            decoded = self.read(frame if isinstance(frame, str) else frame.decode())
            # A message of the right kind without a trade in it.
            return decoded if any(decoded[:4]) else decoded._replace(ignored="empty")
        except UnusableError as error:
            cause = error.cause
        except msgspec.ValidationError:
            cause = "bad_message"
        except UnicodeError:
            cause = "bad_utf8"
        except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
            cause = "bad_json"
        return Decoded(rejected=((cause, sample_of(frame)),))


def to_json(message: object) -> str:
    """Return a message to a venue as JSON text."""
    return msgspec.json.encode(message).decode()


def collect(
    items: Iterable[msgspec.Raw],
    one: Callable[[msgspec.Raw], Print],
    *,
    history: bool = False,
    newest_first: bool = False,
    sequence: int | None = None,
) -> Decoded:
    """Turn a message's trades into prints, oldest first, each one that is malformed rejected alone.

    Trades of the same instant keep the order in which the venue matched them: as listed, or the
    reverse where the venue lists ``newest_first``. ``history``: they are counted and left out.
    """
    prints: list[Print] = []
    rejected: list[tuple[str, str]] = []
    for item in items:
        try:
            prints.append(one(item))
        except UnusableError as error:
            rejected.append((error.cause, sample_of(bytes(item))))
        except msgspec.ValidationError:
            rejected.append(("bad_message", sample_of(bytes(item))))
    if history:
        return Decoded(history=len(prints), rejected=tuple(rejected), sequence=sequence)
    if newest_first:
        prints.reverse()
    prints.sort(key=_by_time)
    return Decoded(tuple(prints), rejected=tuple(rejected), sequence=sequence)


def text_of(raw: msgspec.Raw) -> str:
    """Return the text of a JSON value as it stands, without quotes; escapes stay unread."""
    text = bytes(raw)
    if text.startswith(b'"'):
        text = text[1:-1]
    return text.decode("ascii", "replace")


def said(raw: msgspec.Raw) -> str:
    """Return what a venue says when it refuses, fit for a log."""
    text = text_of(raw)
    return "no reason given" if text in {"", "null"} else sample_of(text)


def price_of(raw: msgspec.Raw) -> Decimal:
    """Return a price above zero (a JSON number or numeric string), exact; raise UnusableError."""
    price = _number(raw, "bad_price")
    if price <= 0:
        raise UnusableError("bad_price")
    return price


def size_of(raw: msgspec.Raw) -> Decimal:
    """Return a size of at least zero (a JSON number or numeric string), exact; raise UnusableError."""
    size = _number(raw, "bad_size")
    if size < 0:
        raise UnusableError("bad_size")
    return size


def _number(raw: msgspec.Raw, cause: str) -> Decimal:
    try:
        return parse_decimal(text_of(raw))
    except ValueError:
        raise UnusableError(cause) from None


def time_of(raw: msgspec.Raw, unit: str) -> int:
    """Return a time given in s, ms, us, ns (number or numeric string) or iso; raise UnusableError ``bad_time``."""
    text = text_of(raw)
    if unit == "iso":
        return iso_of(text)
    try:
        ns = to_units(parse_decimal(text), TIME_SCALE[unit])
    except ValueError:
        raise UnusableError("bad_time") from None
    return _sane(ns)


def iso_of(text: str) -> int:
    """Return an ISO 8601 time (up to nanoseconds, with ``Z`` or an offset); raise UnusableError ``bad_time``."""
    match = _ISO.fullmatch(text)
    if match is None:
        raise UnusableError("bad_time")
    date, clock, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{'+00:00' if zone == 'Z' else zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise UnusableError("bad_time") from None
    return _sane(timegm(moment.utctimetuple()) * 10**9 + int((fraction or "").ljust(9, "0")))


def _sane(ns: int) -> int:
    if not EARLIEST_NS <= ns < LATEST_NS:
        raise UnusableError("bad_time")
    return ns


def id_of(raw: msgspec.Raw | str) -> int | str:
    """Return a venue's trade id: an int where it is a canonical 64-bit one, else its text; raise UnusableError."""
    quoted = isinstance(raw, str) or bytes(raw).startswith(b'"')
    text = raw if isinstance(raw, str) else text_of(raw)
    if _INTEGER.fullmatch(text):
        number = int(text)
        return number if number <= INT64_MAX else text
    if _ID.fullmatch(text) and (quoted or text.isdigit()):
        return text
    raise UnusableError("bad_trade_id")


def taker(side: str) -> int:
    """Return the aggressor where a venue gives the taker's side; what is neither is unknown, not wrong."""
    match side.lower():
        case "buy" | "b":
            return AGGRESSOR_BUY
        case "sell" | "s":
            return AGGRESSOR_SELL
    return AGGRESSOR_UNKNOWN


def taker_of_maker(side: str) -> int:
    """Return the aggressor where a venue gives the maker's side: the opposite."""
    return -taker(side)
