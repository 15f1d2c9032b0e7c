"""Settings of the feeds: synthetic, replay of files or of a session, live venues."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hybrid_platform.settings.base import Exact, Section, Symbol
from hybrid_platform.settings.websocket import FrameFormat, WebsocketFeed


class SyntheticFeed(Section):
    """A random walk that is determined by its seed."""

    ticks_per_second: Annotated[float, Field(gt=0, le=10_000_000)] | Literal["max"] = 2.0
    """Ticks per second of all symbols together; ``max``: as fast as the pipeline takes them."""
    symbols: Annotated[tuple[Symbol, ...], Field(min_length=1, max_length=1000)] = ("SOL/USDC",)
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 7
    start_price: Annotated[Exact, Field(gt=0, le=1_000_000)] = Decimal(100)
    ticks: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many ticks; null: only the time limit or a stop ends the feed."""


class Columns(Section):
    """The column of each value: names, or positions from 0 for a file without a header."""

    ts: str | int
    price: str | int
    size: str | int | None = None
    """If unset, every size is 0."""
    symbol: str | int | None = None
    trade_id: str | int | None = None
    side: str | int | None = None
    """buy/sell, b/s, 1/-1; or true/false for "the buyer was the maker"."""
    ts_recv: str | int | None = None


class ReplayFeed(Section):
    """Recorded trades from files, or from an earlier session in the database."""

    path: str | tuple[str, ...] | None = None
    """A file, a glob pattern, or a list of either: CSV, JSONL (also .gz), Parquet, or a preset's zip."""
    session: str | None = None
    """The id of an earlier session in the database, instead of a path."""
    format: str | None = None
    """The name of a preset, instead of ``columns``; see docs/feeds.md."""
    columns: Columns | None = None
    frames: FrameFormat | None = None
    """The path holds recorded websocket frames of this venue; its decoder reads them, see docs/live-data.md."""
    ts_unit: Literal["s", "ms", "us", "ns", "iso"] = "ms"
    recv_unit: Literal["s", "ms", "us", "ns", "iso"] | None = None
    """Unit of ``columns.ts_recv``; null: the same as ``ts_unit``."""
    symbol: Symbol | None = None
    """The symbol, for files without such a column."""
    venue: Symbol = "REPLAY"
    quote: Symbol = "USD"
    """The currency of the prices, if the symbol does not contain it."""
    speed: Annotated[float, Field(gt=0, le=1e9)] | Literal["max"] = "max"
    """``max``, or a factor of real time (1: as recorded)."""
    order: Literal["time", "listed"] = "time"
    """Several files are merged by event time, or played in the listed order; rows of a file are never reordered."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many accepted ticks."""

    @model_validator(mode="after")
    def _one_source(self) -> ReplayFeed:
        if (self.path is None) == (self.session is None):
            raise ValueError("exactly one of `path` and `session`")
        if sum(way is not None for way in (self.format, self.columns, self.frames)) > 1:
            raise ValueError("at most one of `format`, `columns` and `frames`")
        if self.frames is not None and self.path is None:
            raise ValueError("a `path` with `frames`")
        if self.path is not None and not self.paths:
            raise ValueError("at least one path")
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths as a tuple."""
        if self.path is None:
            return ()
        return (self.path,) if isinstance(self.path, str) else self.path


class Feed(Section):
    """The source of ticks: exactly one of these."""

    synthetic: SyntheticFeed | None = None
    replay: ReplayFeed | None = None
    websocket: WebsocketFeed | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Feed:
        if (
            len(self.model_fields_set & {name for name in type(self).model_fields if getattr(self, name) is not None})
            != 1
        ):
            raise ValueError("exactly one feed: " + ", ".join(type(self).model_fields))
        return self

    @property
    def kind(self) -> str:
        """Name of the feed that is set."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)
