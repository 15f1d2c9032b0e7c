"""Layouts: how the cells of one kind of file become ticks, the presets, and the choice of a layout for a file.

in: the first rows of a file and the settings · out: a `ColumnMap`, or one ConfigError that names every fault. A file
whose layout is unknown is refused. docs/feeds.md lists the presets, and a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.instruments import clean_symbol
from hybrid_platform.feeds.files.sources import PATH_SETTING, Source
from hybrid_platform.settings.base import shown
from hybrid_platform.settings.feeds import Columns, ReplayFeed

FORMAT_SETTING = "feed.replay.format"
_MAX_WIDTH = 4_096
_OPTIONAL_KEYS = ("trade_id", "side")
"""Fields that may be missing in a JSON object."""

Column = str | int


@dataclass(frozen=True)
class Layout:
    """Columns and units of one kind of file, and the marks by which it is recognised."""

    name: str
    about: str
    columns: Columns
    ts_unit: str = "ms"
    """s, ms, us, ns, iso, or ms_or_us (decided per row by magnitude)."""
    recv_unit: str | None = None
    """Unit of ``columns.ts_recv``; None: the same as ``ts_unit``."""
    ask: Column | None = None
    """For quotes, the ask; ``columns.price`` is the bid, and the tick is their exact midpoint with size 0."""
    price_shift: int = 0
    """Prices in the file are multiplied by 10^price_shift."""
    zone: str | None = None
    """If set, times are milliseconds since midnight in this time zone, on the day in the file's name."""
    headers: tuple[tuple[str, ...], ...] = ()
    """Header lines, or JSON keys, of such files."""
    widths: tuple[int, ...] = ()
    """Possible numbers of columns of such files without a header line."""
    named: re.Pattern[str] | None = None
    """Finds ``symbol``, ``date`` (YYYYMMDD) and ``month`` in the path, which ends with the zip's member."""
    hint: re.Pattern[str] | None = None
    """Another pattern that the path must match to recognise a file without a header line."""

    @property
    def fields(self) -> dict[str, Column]:
        """Column of each field: ts, price, size, symbol, trade_id, side, ts_recv, ask."""
        columns: dict[str, Column] = self.columns.model_dump(exclude_none=True)
        return columns if self.ask is None else {**columns, "ask": self.ask}

    @property
    def by_name(self) -> bool:
        """Whether columns are named by a header line."""
        return any(isinstance(column, str) for column in self.fields.values())

    def recognises(self, path: str, head: Sequence[Sequence[str]]) -> bool:
        """Return whether a file that begins with the rows ``head`` matches, by header line or by path and width."""
        if tuple(head[0]) in self.headers:
            return True
        patterns = (self.named, self.hint)
        fits = any(len(row) in self.widths for row in head)
        return fits and all(pattern is None or pattern.search(path) is not None for pattern in patterns)

    def parse_path(self, path: str) -> PathFacts:
        """Return the symbol and day that the path contains."""
        found = self.named.search(path) if self.named else None
        if found is None:
            return PathFacts()
        part = {"symbol": None, "date": None, "month": None, **found.groupdict()}
        try:
            symbol = clean_symbol("-".join(filter(None, (part["symbol"], part["month"])))) if part["symbol"] else None
            return PathFacts(symbol, date.fromisoformat(part["date"]) if part["date"] else None)
        except ValueError:
            return PathFacts()


@dataclass(frozen=True)
class PathFacts:
    """Symbol and day that a file's path contains."""

    symbol: str | None = None
    day: date | None = None


_CAPTURE = ("trade_time_ms", "event_time_ms", "recv_ns", "trade_id", "price", "qty", "buyer_is_maker", "exec_type")
_AGGREGATES = (
    "agg_trade_id",
    "price",
    "quantity",
    "first_trade_id",
    "last_trade_id",
    "transact_time",
    "is_buyer_maker",
)
_DATE = r"(?P<date>\d{8})"
_DUMP = r"(?P<symbol>[A-Z0-9_]+)-{kind}-\d{{4}}-\d{{2}}(-\d{{2}})?\.(csv|zip)"


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII | re.IGNORECASE)


_PRESETS = (
    Layout(
        "us_equity",
        "US equity trades with Unix milliseconds",
        Columns(ts="ts_ms", price="price", size="size", symbol="symbol"),
        headers=(("symbol", "ts_ms", "price", "size", "exchange", "conditions", "suspicious"),),
    ),
    Layout(
        "binance_capture",
        "trades extracted from Binance websocket frames, with the local receive time",
        Columns(
            ts="trade_time_ms",
            price="price",
            size="qty",
            trade_id="trade_id",
            side="buyer_is_maker",
            ts_recv="recv_ns",
        ),
        recv_unit="ns",
        headers=(_CAPTURE,),
        named=_compile(r"binance_(spot|usdm|coinm)_(?P<symbol>[a-z0-9]+)_\d{8}\.csv"),
    ),
    Layout(
        "tardis_trades",
        "Tardis.dev trades, microseconds, with the local receive time",
        Columns(
            ts="timestamp",
            price="price",
            size="amount",
            symbol="symbol",
            trade_id="id",
            side="side",
            ts_recv="local_timestamp",
        ),
        ts_unit="us",
        headers=(("exchange", "symbol", "timestamp", "local_timestamp", "id", "side", "price", "amount"),),
    ),
    Layout(
        "binance_trades",
        "Binance public dump of trades: spot, USD-M or COIN-M; milliseconds or microseconds",
        Columns(ts=4, price=1, size=2, trade_id=0, side=5),
        ts_unit="ms_or_us",
        headers=(
            ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker"),
            ("id", "price", "qty", "base_qty", "time", "is_buyer_maker"),
        ),
        widths=(6, 7),
        named=_compile(_DUMP.format(kind="trades")),
    ),
    Layout(
        "binance_agg_trades",
        "Binance public dump of aggregate trades: spot, USD-M or COIN-M; milliseconds or microseconds",
        Columns(ts=5, price=1, size=2, trade_id=0, side=6),
        ts_unit="ms_or_us",
        headers=(_AGGREGATES,),
        widths=(7, 8),
        named=_compile(_DUMP.format(kind="aggTrades")),
    ),
    Layout(
        "lean_equity_usa",
        "Lean US equity trade ticks: milliseconds since midnight New York, prices times 10,000",
        Columns(ts=0, price=1, size=2),
        price_shift=4,
        zone="America/New_York",
        widths=(6,),
        named=_compile(_DATE + r"_(?P<symbol>[a-z0-9.]+)_(trade_tick|tick_trade)\.csv"),
        hint=_compile(r"equity[/_]usa"),
    ),
    Layout(
        "lean_future",
        "Lean futures trade ticks, one member per contract month: milliseconds since midnight UTC",
        Columns(ts=0, price=1, size=2),
        zone="UTC",
        widths=(6,),
        named=_compile(_DATE + r"_(?P<symbol>[a-z0-9]+)_(trade_tick|tick_trade)_(?P<month>\d{6})(_\d+)?\.csv"),
    ),
    Layout(
        "lean_forex_fxcm_quotes",
        "Lean FXCM forex quote ticks: milliseconds since midnight UTC-5",
        Columns(ts=0, price=1),
        ask=2,
        zone="Etc/GMT+5",
        widths=(3,),
        named=_compile(_DATE + r"_(?P<symbol>[a-z0-9]+)_(quote_tick|tick_quote)\.csv"),
        hint=_compile("fxcm"),
    ),
    Layout(
        "lean_oanda_quotes",
        "Lean Oanda forex and CFD quote ticks: milliseconds since midnight UTC",
        Columns(ts=0, price=1),
        ask=2,
        zone="UTC",
        widths=(3,),
        named=_compile(_DATE + r"_(?P<symbol>[a-z0-9]+)_(quote_tick|tick_quote)\.csv"),
        hint=_compile("oanda"),
    ),
    Layout(
        "tick_jsonl",
        "one JSON object a line, with Unix milliseconds",
        Columns(ts="ts", price="price", size="volume", symbol="symbol"),
        headers=(("symbol", "price", "volume", "ts"),),
    ),
)

PRESETS = {layout.name: layout for layout in _PRESETS}


class ColumnMap(NamedTuple):
    """Positions of a layout's fields in one file."""

    layout: Layout
    positions: tuple[int, ...]
    """Column of each of the layout's fields, in their order."""
    has_header: bool
    widths: frozenset[int] | range
    """Allowed numbers of columns in a row."""


def choose_layout(settings: ReplayFeed, source: Source, head: Sequence[Sequence[str]]) -> Layout:
    """Return the layout from the settings, or the only preset that recognises the file; raise ConfigError."""
    if settings.columns is not None:
        return Layout("columns", "as stated", settings.columns, settings.ts_unit, settings.recv_unit)
    if settings.format is not None:
        if settings.format not in PRESETS:
            raise _fault(FORMAT_SETTING, f"one of {', '.join(PRESETS)}", shown(settings.format))
        return PRESETS[settings.format]
    matching = [layout for layout in PRESETS.values() if layout.recognises(source.full_name, head)]
    if len(matching) != 1:
        expected = f"`columns`, or one of {', '.join(PRESETS)}: the file does not show its format"
        raise _fault(FORMAT_SETTING, expected, f"{shown(','.join(head[0]))} in {source.label}")
    return matching[0]


def map_csv_columns(settings: ReplayFeed, source: Source, head: Sequence[Sequence[str]]) -> ColumnMap:
    """Return the columns of a CSV file with the first rows ``head``."""
    layout = choose_layout(settings, source, head)
    if layout.by_name or tuple(head[0]) in layout.headers:
        positions = _find_positions(layout, head[0], source)
        return ColumnMap(layout, positions, True, frozenset({len(head[0])}))
    positions = tuple(int(column) for column in layout.fields.values())
    least = max(positions) + 1
    widths = frozenset(layout.widths) or range(least, _MAX_WIDTH + 1)
    if not any(len(row) in widths for row in head):
        stated = " or ".join(map(str, layout.widths)) or f"at least {least}"
        raise _fault(
            _setting_name(layout), f"rows of {stated} columns", f"{shown(','.join(head[0]))} in {source.label}"
        )
    return ColumnMap(layout, positions, False, widths)


def map_named_columns(settings: ReplayFeed, source: Source, names: Sequence[str]) -> ColumnMap:
    """Return the columns of a file whose columns are named (Parquet)."""
    layout = choose_layout(settings, source, [names])
    if len(set(names)) < len(names):
        raise _fault(PATH_SETTING, "each column once", f"{_list_names(names)} in {source.label}")
    return ColumnMap(layout, _find_positions(layout, names, source), True, frozenset({len(names)}))


def choose_json_layout(settings: ReplayFeed, source: Source, head: Sequence[Sequence[str]]) -> Layout:
    """Return the layout of a JSONL file; ``head`` are the keys of its first objects, if it has any."""
    keys = head[0] if head else ()
    known = next((names for layout in PRESETS.values() for names in layout.headers if set(names) == set(keys)), keys)
    layout = choose_layout(settings, source, [known])
    faults = [
        Fault(f"{_setting_name(layout)}.{field}", "a key", f"position {column} in {source.label}")
        for field, column in layout.fields.items()
        if isinstance(column, int)
    ]
    needed = {column for field, column in layout.fields.items() if field not in _OPTIONAL_KEYS}
    if head and not faults and not any(needed <= set(row) for row in head):
        faults = _missing_keys(layout, keys, source)
    if faults:
        raise ConfigError(faults)
    return layout


def resolve_path_facts(layout: Layout, source: Source, settings: ReplayFeed) -> tuple[date | None, str | None]:
    """Return the day of a file's trades and the symbol of a file without a symbol column; raise ConfigError."""
    facts = layout.parse_path(source.full_name)
    symbol = settings.symbol or facts.symbol
    if layout.columns.symbol is None and symbol is None:
        raise _fault("feed.replay.symbol", "a symbol, as neither a column nor the file's name has one", source.label)
    if layout.zone is not None:
        if facts.day is None:
            raise _fault(PATH_SETTING, "a name with the day of its trades", source.label)
        try:
            ZoneInfo(layout.zone)
        except (ZoneInfoNotFoundError, OSError):
            raise _fault(FORMAT_SETTING, f"a host that knows the time zone {layout.zone}", "no such zone") from None
    return facts.day, symbol


def _find_positions(layout: Layout, names: Sequence[str], source: Source) -> tuple[int, ...]:
    positions, faults = [], []
    for field, column in layout.fields.items():
        if isinstance(column, int) and column < len(names):
            positions.append(column)
        elif isinstance(column, str) and names.count(column) == 1:
            positions.append(names.index(column))
        else:
            expected = "one column only" if column in names else f"one of: {_list_names(names)}"
            faults.append(Fault(f"{_setting_name(layout)}.{field}", expected, f"{shown(column)} in {source.label}"))
    if faults:
        raise ConfigError(faults)
    return tuple(positions)


def _missing_keys(layout: Layout, names: Sequence[str], source: Source) -> list[Fault]:
    return [
        Fault(f"{_setting_name(layout)}.{field}", f"one of: {_list_names(names)}", f"{shown(column)} in {source.label}")
        for field, column in layout.fields.items()
        if column not in names and field not in _OPTIONAL_KEYS
    ]


def _setting_name(layout: Layout) -> str:
    return "feed.replay.columns" if layout.name == "columns" else f"{FORMAT_SETTING} {layout.name}"


def _list_names(names: Sequence[str]) -> str:
    return shown(", ".join(names)).strip("'\"") or "none"


def _fault(path: str, expected: str, got: str) -> ConfigError:
    return ConfigError([Fault(path, expected, got)])
