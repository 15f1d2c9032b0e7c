"""Stated instruments: their rules in the settings, or in a separate YAML or CSV file.

In: settings, or the text of a file. Out: `InstrumentSettings`, and the rows of a file in the form of settings. All
faults of a file are reported at once, each with its line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import Field, ValidationError, model_validator

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.instruments import Instrument, infer_instrument
from hybrid_platform.settings.base import Exact, Section, Symbol, collect_faults, shown
from hybrid_platform.settings.yaml_text import YAML_ERRORS, load_yaml

MAX_FILE_BYTES = 8 * 2**20
MAX_ROWS = 20_000
MAX_FAULTS = 50
SignedBps = Annotated[Exact, Field(gt=-10_000, lt=10_000, decimal_places=8)]


class InstrumentSettings(Section):
    """Rules of one instrument; a rule that is null does not apply."""

    symbol: Symbol
    venue: Symbol | None = None
    """null: the venue of the session's feed."""
    base: Symbol | None = None
    """null: the part of the symbol before its slash."""
    quote: Symbol | None = None
    """null: the part of the symbol after its slash, otherwise the quote of the feed."""
    price_increment: Annotated[Exact, Field(gt=0, lt=1e15, decimal_places=18)] | None = None
    size_increment: Annotated[Exact, Field(gt=0, lt=1e15, decimal_places=18)] | None = None
    min_qty: Annotated[Exact, Field(ge=0)] | None = None
    max_qty: Annotated[Exact, Field(gt=0)] | None = None
    min_notional: Annotated[Exact, Field(ge=0)] | None = None
    max_notional: Annotated[Exact, Field(gt=0)] | None = None
    multiplier: Annotated[Exact, Field(gt=0, lt=1e9, decimal_places=8)] = Decimal(1)
    """Base units per unit of quantity (futures)."""
    maker_fee_bps: SignedBps | None = None
    taker_fee_bps: SignedBps | None = None
    fixed_fee: Annotated[Exact, Field(ge=0, lt=1e9, decimal_places=8)] = Decimal(0)
    """In quote currency, per fill."""
    active: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> InstrumentSettings:
        for low, high in ((self.min_qty, self.max_qty), (self.min_notional, self.max_notional)):
            if low is not None and high is not None and low > high:
                raise ValueError("a minimum not above its maximum")
        return self

    def instrument(self, default_venue: str, default_quote: str) -> Instrument:
        """Return the domain's instrument; because it is stated, its rules can refuse orders."""
        plain = infer_instrument(self.venue or default_venue, self.symbol, default_quote)
        rules = {name: getattr(self, name) for name in type(self).model_fields if name not in _IDENTITY}
        return msgspec.structs.replace(
            plain, base=self.base or plain.base, quote=self.quote or plain.quote, inferred=False, **rules
        )


_IDENTITY = frozenset({"symbol", "venue", "base", "quote"})


Row = tuple[str, dict[str, Any]]
"""Place of a row in its file, and its values."""


def read_instruments(name: object) -> list[dict[str, Any]]:
    """Return the rows of a YAML file (a list, or ``instruments: […]``) or of a CSV file (empty cells are unset).

    Raises ConfigError for a file that cannot be read or has another format, and with one fault per wrong cell.
    """
    if not isinstance(name, str) or not name.strip() or len(name) > 4096 or "\0" in name:
        raise ConfigError([Fault("instruments_file", "the path of a YAML or CSV file", shown(name))])
    path = Path(name)
    text = _text(path)
    rows = list(_few(path, _csv_rows(path, text) if path.suffix.lower() == ".csv" else _yaml_rows(path, text)))
    faults: list[Fault] = []
    seen: dict[tuple[str, str], str] = {}
    for where, row in rows:
        faults += _faults_of_row(where, row)
        key = str(row.get("venue") or "").upper(), str(row.get("symbol") or "").upper()
        if key in seen:
            faults.append(Fault(f"{where}: symbol", f"each instrument once, also at {seen[key]}", shown(key[1])))
        seen[key] = where
        if len(faults) >= MAX_FAULTS:
            break
    if faults:
        raise ConfigError(faults)
    return [row for _, row in rows]


def _faults_of_row(where: str, row: Mapping[str, Any]) -> list[Fault]:
    try:
        InstrumentSettings.model_validate(row)
    except ValidationError as error:
        found = collect_faults(error, InstrumentSettings)
        return [Fault(f"{where}: {fault.path}", fault.expected, fault.got) for fault in found]
    return []


def _yaml_rows(path: Path, text: str) -> Iterator[Row]:
    try:
        loaded = load_yaml(text)
    except YAML_ERRORS as error:
        raise ConfigError([Fault(str(path), "valid YAML", " ".join(str(error).split()))]) from None
    if isinstance(loaded, dict) and set(loaded) == {"instruments"}:
        loaded = loaded["instruments"]
    if not isinstance(loaded, list):
        raise ConfigError([Fault(str(path), "a list of instruments", type(loaded).__name__)])
    for number, row in enumerate(loaded, 1):
        if not isinstance(row, dict):
            raise ConfigError([Fault(f"{path}: instrument {number}", "a mapping", shown(row))])
        yield f"{path}: instrument {number}", {str(key): value for key, value in row.items()}


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        heads = [head.strip() for head in next(reader, [])]
        known = InstrumentSettings.model_fields
        if "symbol" not in heads or len(set(heads)) != len(heads) or not set(heads) <= set(known):
            expected = f"columns of {', '.join(known)}, each once, symbol among them"
            raise ConfigError([Fault(f"{path}:1", expected, shown(heads))])
        for row in reader:
            where = f"{path}:{reader.line_num}"
            if row and len(row) != len(heads):
                raise ConfigError([Fault(where, f"{len(heads)} cells", str(len(row)))])
            cells = {head: cell.strip() for head, cell in zip(heads, row, strict=False)}
            if cells:
                yield where, {head: cell for head, cell in cells.items() if cell}
    except csv.Error as error:
        raise ConfigError([Fault(f"{path}:{reader.line_num}", "valid CSV", str(error))]) from None


def _few(path: Path, rows: Iterable[Row]) -> Iterator[Row]:
    for number, row in enumerate(rows):
        if number >= MAX_ROWS:
            raise ConfigError([Fault(str(path), f"at most {MAX_ROWS} instruments", "more")])
        yield row


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise ConfigError([Fault("instruments_file", "the path of a YAML or CSV file", f"{path}: no such file")])
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ConfigError([Fault(str(path), f"at most {MAX_FILE_BYTES} bytes", "more")])
        return content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError([Fault("instruments_file", "a readable text file", f"{path}: {error}")]) from None
