"""Base class of the venues, and the decoded form of a frame: every frame gives trades or is counted (S5).

in: one frame of a venue · out: `Decoded`, which holds `Trade` objects, rejections, or the kind of an ignored frame.
Pure. A new venue is a module in `venues` with a subclass of `Venue`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import ClassVar, NamedTuple

import msgspec

from hybrid_platform.domain.decimals import DEFAULT_SCALE
from hybrid_platform.feeds.websocket.parsing import InvalidValueError, make_sample
from hybrid_platform.settings.websocket import FrameFormat

_by_time = attrgetter("ts_event")


class Trade(NamedTuple):
    """One trade as a venue reported it."""

    symbol: str
    """In the venue's own spelling."""
    price: Decimal
    size: Decimal
    side: int
    """The aggressor: 1 buyer, -1 seller, 0 unknown."""
    ref: int | str | None
    ts_event: int
    span: int = 1
    """Number of the venue's ids that this trade stands for; ``ref`` is the last of them."""


class Decoded(NamedTuple):
    """Content of one frame: trades, history, rejections, or an ignored kind."""

    trades: tuple[Trade, ...] = ()
    """Oldest first."""
    history: int = 0
    """Count of trades from before the subscription."""
    ignored: str = ""
    """Kind of a frame that gives no tick on purpose: an ack, a heartbeat, a foreign channel."""
    rejected: tuple[tuple[str, str], ...] = ()
    """(cause, sample) of each trade, or of the whole frame, that could not be used."""
    close_reason: str = ""
    """Not empty: why the venue refuses to serve or asks for a new connection."""
    sequence: int | None = None
    """The venue's message number on this connection, if it sends one."""
    skipped: tuple[tuple[str, int], ...] = ()
    """(symbol, id) of trades left out on purpose, so that the next id does not look like a gap."""


class Ping(NamedTuple):
    """A venue's own keepalive, in addition to websocket pings."""

    message: str
    interval_s: float


class Venue(ABC):
    """Protocol of one venue: how to subscribe and how to decode its frames. Stateless after construction."""

    name: ClassVar[str]
    """As in the settings; also the name of the module."""
    markets: ClassVar[dict[str, tuple[str, str]]]
    """Market (``spot`` at least) -> the venue's name in instruments, and its URL."""
    contiguous: bool = False
    """Whether trade ids increase by one per symbol, so that a jump is a gap."""
    per_connection: ClassVar[int] = 200
    """Symbols that one connection may carry."""
    per_message: ClassVar[int] = 100
    """Symbols that one subscription message may name."""
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
        """Return the scale for sizes of a (cleaned) symbol whose instrument is not configured."""
        return DEFAULT_SCALE

    @abstractmethod
    def read(self, frame: str) -> Decoded:
        """Decode a frame; raise ValueError or RecursionError if it is malformed as a whole."""

    def decode(self, frame: bytes | str) -> Decoded:
        """Return the content of a frame; never raises: a malformed frame is a rejection."""
        try:
            decoded = self.read(frame if isinstance(frame, str) else frame.decode())
            # A message of the right kind without a trade in it.
            return decoded if any(decoded[:4]) else decoded._replace(ignored="empty")
        except InvalidValueError as error:
            cause = error.cause
        except msgspec.ValidationError:
            cause = "bad_message"
        except UnicodeError:
            cause = "bad_utf8"
        except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
            cause = "bad_json"
        return Decoded(rejected=((cause, make_sample(frame)),))


def collect_trades(
    items: Iterable[msgspec.Raw],
    to_trade: Callable[[msgspec.Raw], Trade],
    *,
    history: bool = False,
    newest_first: bool = False,
    sequence: int | None = None,
) -> Decoded:
    """Decode the trades of one message, oldest first; a malformed one is rejected alone.

    Trades of the same instant keep the order in which the venue matched them: as listed, or reversed
    if the venue lists ``newest_first``. With ``history`` they are counted and left out.
    """
    trades: list[Trade] = []
    rejected: list[tuple[str, str]] = []
    for item in items:
        try:
            trades.append(to_trade(item))
        except InvalidValueError as error:
            rejected.append((error.cause, make_sample(bytes(item))))
        except msgspec.ValidationError:
            rejected.append(("bad_message", make_sample(bytes(item))))
    if history:
        return Decoded(history=len(trades), rejected=tuple(rejected), sequence=sequence)
    if newest_first:
        trades.reverse()
    trades.sort(key=_by_time)
    return Decoded(tuple(trades), rejected=tuple(rejected), sequence=sequence)
