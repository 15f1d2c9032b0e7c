"""A layout says how the cells of one kind of file become ticks; the presets are named layouts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from hybrid_platform.domain.instruments import clean_symbol
from hybrid_platform.settings.feeds import Columns

Column = str | int


@dataclass(frozen=True)
class Layout:
    """Columns, units, and how to recognise a file that is laid out so."""

    name: str
    about: str
    columns: Columns
    ts_unit: str = "ms"
    """s, ms, us, ns, iso, or ms_or_us: each row by its magnitude."""
    recv_unit: str | None = None
    """Unit of ``columns.ts_recv``; None: as ``ts_unit``."""
    ask: Column | None = None
    """Quotes: ``columns.price`` is the bid, this is the ask, and the tick is their exact middle, of size 0."""
    price_shift: int = 0
    """Prices are written times 10^price_shift."""
    zone: str | None = None
    """Times are milliseconds since midnight there, of the day that the file's name says."""
    headers: tuple[tuple[str, ...], ...] = ()
    """Header lines (or JSON keys) of such files."""
    widths: tuple[int, ...] = ()
    """Numbers of columns of such files without a header line."""
    named: re.Pattern[str] | None = None
    """Finds ``symbol``, ``date`` (YYYYMMDD) and ``month`` in the path (a zip's member behind its own)."""
    hint: re.Pattern[str] | None = None
    """What else the path must hold for a file without a header line to be recognised."""

    @property
    def fields(self) -> dict[str, Column]:
        """Which of ts, price, size, symbol, trade_id, side, ts_recv and ask stands in which column."""
        stated: dict[str, Column] = self.columns.model_dump(exclude_none=True)
        return stated if self.ask is None else {**stated, "ask": self.ask}

    @property
    def by_name(self) -> bool:
        """Whether columns are found by a header line's names."""
        return any(isinstance(column, str) for column in self.fields.values())

    def recognises(self, path: str, head: Sequence[Sequence[str]]) -> bool:
        """Whether a file that begins with the rows ``head`` is laid out so: by header line, else by path and width."""
        if tuple(head[0]) in self.headers:
            return True
        patterns = (self.named, self.hint)
        fits = any(len(row) in self.widths for row in head)
        return fits and all(pattern is None or pattern.search(path) is not None for pattern in patterns)

    def origin(self, path: str) -> Origin:
        """Return what the path says."""
        found = self.named.search(path) if self.named else None
        if found is None:
            return Origin()
        part = {"symbol": None, "date": None, "month": None, **found.groupdict()}
        try:
            symbol = clean_symbol("-".join(filter(None, (part["symbol"], part["month"])))) if part["symbol"] else None
            return Origin(symbol, date.fromisoformat(part["date"]) if part["date"] else None)
        except ValueError:
            return Origin()


@dataclass(frozen=True)
class Origin:
    """What a file's name says about its rows."""

    symbol: str | None = None
    day: date | None = None
