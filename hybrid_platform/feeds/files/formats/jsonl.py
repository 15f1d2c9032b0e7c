"""JSON lines: one flat object per line. Numbers stay text, so that no price passes through a float."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NoReturn

import pyarrow as pa

from hybrid_platform.feeds.files.blocks import Row
from hybrid_platform.feeds.files.cells import RowError
from hybrid_platform.feeds.files.columns import TickParser
from hybrid_platform.feeds.files.lines import Lines

_MAX_LINES = 4_096
"""Lines that are decoded at a time."""


def _reject_constant(text: str) -> NoReturn:
    raise ValueError(text)


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


_DECODER = json.JSONDecoder(
    object_pairs_hook=_reject_duplicates, parse_float=str, parse_int=str, parse_constant=_reject_constant
)


def decode_object(line: bytes) -> dict[str, Any]:
    """Return a line's object, numbers as text; raise RowError(``bad_encoding`` or ``bad_json``).

    NaN, infinities, repeated keys and excessive nesting are rejected.
    """
    try:
        text = line.decode("utf-8").strip(" \t")
        found, end = _DECODER.raw_decode(text)
    except UnicodeDecodeError:
        raise RowError("bad_encoding") from None
    except (ValueError, RecursionError):
        raise RowError("bad_json") from None
    if not isinstance(found, dict) or end != len(text):
        raise RowError("bad_json")
    return found


class JsonBlock:
    """Decoded lines of one JSONL file."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def columns(self, parser: TickParser) -> list[Any] | None:
        """Return text columns, or None if a cell is neither text nor a side given as true or false."""
        rows = [row.cells for row in self._rows]
        if not rows or any(isinstance(cells, RowError) for cells in rows):
            return None
        try:
            return [
                pa.array(map(_side_text, column) if name == "side" else column, pa.string())
                for name, column in zip(parser.fields, zip(*rows, strict=True), strict=True)
            ]
        except (pa.ArrowException, UnicodeEncodeError):
            return None

    def rows(self) -> Iterator[Row]:
        """Yield each line that is not blank."""
        return iter(self._rows)

    def split(self) -> tuple[JsonBlock, JsonBlock]:
        """Return the two halves of the block."""
        middle = len(self._rows) // 2
        return JsonBlock(self._rows[:middle]), JsonBlock(self._rows[middle:])


def json_blocks(lines: Lines, keys: Sequence[str]) -> Iterator[JsonBlock]:
    """Yield whole lines as blocks; ``keys`` are the fields' names, in the order of `TickParser.fields`."""
    numbered = enumerate(lines.data.splitlines(), lines.first)
    while chunk := list(islice(numbered, _MAX_LINES)):
        yield JsonBlock([Row(number, _cells(line, keys), line) for number, line in chunk if line.strip()])


def _cells(line: bytes, keys: Sequence[str]) -> tuple[object, ...] | RowError:
    try:
        found = decode_object(line)
    except RowError as error:
        return error
    return tuple(map(found.get, keys))


def _side_text(cell: object) -> object:
    """Return a side as text; in JSON, true or false may tell whether the buyer was the maker."""
    return str(cell).lower() if isinstance(cell, bool) else cell
