"""Settings of live feeds: venues, connections, recording, and the venue of recorded frames (S2, S3, S4)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from hybrid_platform.domain.instruments import clean_symbol
from hybrid_platform.settings.base import Section, Symbol

VenueName = Literal[
    "binance",
    "bitstamp",
    "bybit_v5",
    "ccxt",
    "coinbase_advanced",
    "coinbase_exchange",
    "gemini_v2",
    "generic",
    "kraken_v2",
    "okx_v5",
]
"""The only list of venues: each name is also that of a module in `hybrid_platform.feeds.websocket.venues`."""


class JsonPaths(Section):
    """Places of the values in the JSON of a ``generic`` venue.

    A path is dotted keys and list positions inside one trade (``p``, ``data.0.px``), or, with ``$.``
    in front, inside the whole frame (``$.arg.instId``).
    """

    subscribe: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)]
    """Messages to send: one per symbol if it contains ``{symbol}``; ``{symbols}`` is replaced by a JSON list of all."""
    unsubscribe: tuple[str, ...] = ()
    trades: str = ""
    """Path in the frame to a trade or a list of trades; empty: the frame itself."""
    when: dict[str, str] = Field(default_factory=dict)
    """Frame path -> text: a frame holds trades if all of these are equal; other frames are ignored."""
    history: dict[str, str] = Field(default_factory=dict)
    """Frame path -> text: if all of these are equal, the trades are from before the subscription."""
    price: str
    size: str | None = None
    """If unset, every size is 0."""
    ts: str
    ts_unit: Literal["s", "ms", "us", "ns", "iso"] = "ms"
    symbol: str | None = None
    """If unset, there must be exactly one symbol, and all trades belong to it."""
    trade_id: str | None = None
    contiguous_ids: bool = False
    """Whether ids increase by one per symbol, so that a jump is a gap."""
    side: str | None = None
    buy: str = "buy"
    """The value of ``side`` (in any case) for "the buyer was the aggressor"; ``true`` for a boolean."""
    sell: str = "sell"
    ping: str | None = None
    """A message that keeps the connection alive …"""
    ping_seconds: Annotated[float, Field(ge=1, le=3600)] = 20.0
    """… and its interval."""


class FrameFormat(Section):
    """The venue of the frames, which determines their decoder."""

    venue: VenueName
    market: Literal["spot", "usdm", "coinm", "linear", "inverse"] | None = None
    """The market, for venues with several (Binance, Bybit); null: spot."""
    stream: Literal["trade", "aggTrade"] | None = None
    """For ``binance``; null: the stream of a recording, and live ``trade`` on spot, ``aggTrade`` on other markets."""
    label: Symbol | None = None
    """Venue of the instruments; null: the name of the venue. Required for ``generic``."""
    quote: Symbol | None = None
    """Currency of the prices; null: taken from the symbol."""
    generic: JsonPaths | None = None
    exchange: Annotated[str, Field(pattern="[a-z0-9]{1,32}")] | None = None
    """For ``ccxt``: its id of the exchange."""

    @model_validator(mode="after")
    def _complete(self) -> FrameFormat:
        markets = {"binance": ("spot", "usdm", "coinm"), "bybit_v5": ("spot", "linear", "inverse")}.get(self.venue, ())
        if self.market is not None and self.market not in markets:
            raise ValueError(f"for `{self.venue}`, a market of {markets or 'null'}")
        if self.stream is not None and self.venue != "binance":
            raise ValueError("`stream` for the venue `binance` only")
        if (self.venue == "generic") != (self.generic is not None) or (self.generic and not self.label):
            raise ValueError("`generic` and `label` for the venue `generic`, and `generic` for no other")
        if (self.venue == "ccxt") != (self.exchange is not None):
            raise ValueError("`exchange` for the venue `ccxt`, and for no other")
        return self


class FeedSource(FrameFormat):
    """One venue and its symbols."""

    symbols: Annotated[tuple[str, ...], Field(max_length=2000)]
    """In the spelling of the venue: ``BTCUSDT``, ``BTC-USD``, ``BTC/USD`` …"""
    url: Annotated[str, Field(max_length=2048)] | None = None
    """null: the address of the venue. Plain ``ws`` only to this machine, unless ``allow_insecure``."""
    options: dict[str, Any] = Field(default_factory=dict)
    """For ``ccxt``: options of the exchange's class."""

    @model_validator(mode="after")
    def _sound(self) -> FeedSource:
        cleaned = [clean_symbol(symbol) for symbol in self.symbols]
        if not cleaned:
            raise ValueError("at least one symbol")
        if len(set(cleaned)) != len(cleaned):
            raise ValueError("each symbol once")
        if self.url is not None:
            try:
                parts = urlsplit(self.url)
                sound = parts.scheme in {"ws", "wss"} and parts.hostname and parts.port != 0
            except ValueError:
                sound = False
            if not sound or parts.username is not None or not self.url.isprintable() or " " in self.url:
                raise ValueError("a URL ws://host… or wss://host… without credentials")
        if self.venue == "generic" and self.url is None:
            raise ValueError("a `url` for the venue `generic`")
        if self.options and self.venue != "ccxt":
            raise ValueError("`options` for the venue `ccxt` only")
        if self.generic is not None and self.generic.symbol is None and len(self.symbols) != 1:
            raise ValueError("one symbol if `generic.symbol` is not set")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether the stated URL points to this machine."""
        host = urlsplit(self.url or "").hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


class WebsocketFeed(Section):
    """Public trades from venues, live, without keys (S2, S3, S4)."""

    sources: Annotated[tuple[FeedSource, ...], Field(max_length=32)]
    ping_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 15.0
    """Interval of pings …"""
    pong_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 10.0
    """… and how long the answer may take before the connection is closed."""
    stall_seconds: Annotated[float, Field(ge=0.1, le=86_400)] = 60.0
    """Time without a trade that causes a reconnect (heartbeats do not count); choose it for the slowest source."""
    open_seconds: Annotated[float, Field(ge=0.1, le=600)] = 10.0
    """How long opening a connection may take."""
    backoff_seconds: Annotated[float, Field(ge=0.001, le=600)] = 0.5
    """Limit of the first wait, doubled for each further one …"""
    backoff_max_seconds: Annotated[float, Field(ge=0.001, le=3600)] = 30.0
    """… up to this value; the wait is drawn between 0 and the limit, so that clients do not return in step."""
    stable_seconds: Annotated[float, Field(ge=0, le=86_400)] = 30.0
    """A connection that delivered trades for this long was a success and resets the count of failures."""
    max_failures: Annotated[int, Field(ge=1, le=1_000_000)] = 8
    """Number of consecutive failures of one connection that ends the session with NETWORK (10)."""
    max_frame_bytes: Annotated[int, Field(ge=1024, le=2**28)] = 2**22
    """A larger frame (after decompression) is rejected and ends the connection."""
    max_queue_frames: Annotated[int, Field(ge=1, le=65_536)] = 64
    """Number of frames that may wait inside a connection before it stops reading."""
    compression: bool = False
    """Offer permessage-deflate; trades are small, so the default saves CPU and avoids the risk."""
    allow_insecure: bool = False
    """Allow plain ``ws`` to another machine. TLS is always verified."""
    ca_file: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """PEM file of the trusted authorities, instead of those of the system."""
    record_frames: bool = False
    """Record raw frames with their receive times below ``<data_dir>/frames``."""
    record_segment_mb: Annotated[float, Field(ge=0.001, le=4096)] = 32.0
    """Compressed size at which a file of a recording is closed and the next one begun …"""
    record_max_mb: Annotated[float, Field(ge=0.001, le=1_048_576)] = 2048.0
    """… and total size per source beyond which the session's oldest files are deleted."""

    @model_validator(mode="after")
    def _safe(self) -> WebsocketFeed:
        if not self.sources:
            raise ValueError("at least one of `sources`")
        for source in self.sources:
            if source.url and source.url.startswith("ws:") and not source.is_loopback and not self.allow_insecure:
                raise ValueError("`wss` for a URL of another machine (or `allow_insecure: true`)")
        if self.backoff_seconds > self.backoff_max_seconds:
            raise ValueError("`backoff_seconds` at most `backoff_max_seconds`")
        if self.record_segment_mb > self.record_max_mb:
            raise ValueError("`record_segment_mb` at most `record_max_mb`")
        return self
