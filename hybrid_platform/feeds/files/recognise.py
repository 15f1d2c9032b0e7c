"""Which layout a file has, and where its columns are: known from its beginning, or refused (SPEC 9).

in: the first row of a file and the settings · out: `Found`, or a ConfigError that names every fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.feeds.files.layout import Layout, Origin
from hybrid_platform.feeds.files.presets import PRESETS
from hybrid_platform.feeds.files.sources import PATH_SETTING, Source
from hybrid_platform.settings.base import shown
from hybrid_platform.settings.feeds import ReplayFeed

FORMAT_SETTING = "feed.replay.format"
_MAX_WIDTH = 4_096
_OPTIONAL_KEYS = ("trade_id", "side")
"""JSON objects may leave these out."""


class Found(NamedTuple):
    """A file's columns."""

    layout: Layout
    positions: tuple[int, ...]
    """Where the layout's fields stand, in their order."""
    has_header: bool
    widths: frozenset[int] | range
    """How many columns a row may have."""


def layout_of(settings: ReplayFeed, source: Source, head: Sequence[Sequence[str]]) -> Layout:
    """Return the layout that the settings state, or the only one that knows such a file; raise ConfigError."""
    if settings.columns is not None:
        return Layout("columns", "as stated", settings.columns, settings.ts_unit, settings.recv_unit)
    if settings.format is not None:
        if settings.format not in PRESETS:
            raise _fault(FORMAT_SETTING, f"one of {', '.join(PRESETS)}", shown(settings.format))
        return PRESETS[settings.format]
    known = [layout for layout in PRESETS.values() if layout.recognises(source.full_name, head)]
    if len(known) != 1:
        expected = f"`columns`, or one of {', '.join(PRESETS)}: nothing says which this file is"
        raise _fault(FORMAT_SETTING, expected, f"{shown(','.join(head[0]))} in {source.label}")
    return known[0]


def find_in_rows(settings: ReplayFeed, source: Source, head: Sequence[Sequence[str]]) -> Found:
    """Return the columns of a CSV file; ``head`` are its first rows."""
    layout = layout_of(settings, source, head)
    if layout.by_name or tuple(head[0]) in layout.headers:
        positions = _positions(layout, head[0], source)
        return Found(layout, positions, True, frozenset({len(head[0])}))
    positions = tuple(int(column) for column in layout.fields.values())
    least = max(positions) + 1
    widths = frozenset(layout.widths) or range(least, _MAX_WIDTH + 1)
    if not any(len(row) in widths for row in head):
        stated = " or ".join(map(str, layout.widths)) or f"at least {least}"
        raise _fault(_setting(layout), f"rows of {stated} columns", f"{shown(','.join(head[0]))} in {source.label}")
    return Found(layout, positions, False, widths)


def find_in_names(settings: ReplayFeed, source: Source, names: Sequence[str]) -> Found:
    """Return the columns of a file whose column names are known (Parquet)."""
    layout = layout_of(settings, source, [names])
    if len(set(names)) < len(names):
        raise _fault(PATH_SETTING, "each column once", f"{_list(names)} in {source.label}")
    return Found(layout, _positions(layout, names, source), True, frozenset({len(names)}))


def find_in_objects(settings: ReplayFeed, source: Source, head: Sequence[Sequence[str]]) -> Layout:
    """Return the layout of a JSONL file; ``head`` are the keys of its first objects, as far as there are any."""
    keys = head[0] if head else ()
    known = next((names for layout in PRESETS.values() for names in layout.headers if set(names) == set(keys)), keys)
    layout = layout_of(settings, source, [known])
    faults = [
        Fault(f"{_setting(layout)}.{field}", "a key", f"position {column} in {source.label}")
        for field, column in layout.fields.items()
        if isinstance(column, int)
    ]
    needed = {column for field, column in layout.fields.items() if field not in _OPTIONAL_KEYS}
    if head and not faults and not any(needed <= set(row) for row in head):
        faults = _missing(layout, keys, source)
    if faults:
        raise ConfigError(faults)
    return layout


def origin_of(layout: Layout, source: Source, settings: ReplayFeed) -> tuple[Origin, str | None]:
    """Return what the file's name says, and a symbol for files without that column; or raise ConfigError."""
    origin = layout.origin(source.full_name)
    symbol = settings.symbol or origin.symbol
    if layout.columns.symbol is None and symbol is None:
        raise _fault("feed.replay.symbol", "a symbol: neither a column nor the file's name has it", source.label)
    if layout.zone is not None:
        if origin.day is None:
            raise _fault(PATH_SETTING, "a name with the day of its trades", source.label)
        try:
            ZoneInfo(layout.zone)
        except (ZoneInfoNotFoundError, OSError):
            raise _fault(FORMAT_SETTING, f"a host that knows the time zone {layout.zone}", "no such zone") from None
    return origin, symbol


def _positions(layout: Layout, names: Sequence[str], source: Source) -> tuple[int, ...]:
    positions, faults = [], []
    for field, column in layout.fields.items():
        if isinstance(column, int) and column < len(names):
            positions.append(column)
        elif isinstance(column, str) and names.count(column) == 1:
            positions.append(names.index(column))
        else:
            expected = "one column only" if column in names else f"one of: {_list(names)}"
            faults.append(Fault(f"{_setting(layout)}.{field}", expected, f"{shown(column)} in {source.label}"))
    if faults:
        raise ConfigError(faults)
    return tuple(positions)


def _missing(layout: Layout, names: Sequence[str], source: Source) -> list[Fault]:
    return [
        Fault(f"{_setting(layout)}.{field}", f"one of: {_list(names)}", f"{shown(column)} in {source.label}")
        for field, column in layout.fields.items()
        if column not in names and field not in _OPTIONAL_KEYS
    ]


def _setting(layout: Layout) -> str:
    return "feed.replay.columns" if layout.name == "columns" else f"{FORMAT_SETTING} {layout.name}"


def _list(names: Sequence[str]) -> str:
    return shown(", ".join(names)).strip("'\"") or "none"


def _fault(path: str, expected: str, was: str) -> ConfigError:
    return ConfigError([Fault(path, expected, was)])
