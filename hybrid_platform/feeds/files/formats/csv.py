"""CSV: an optional header line, then one row per line; quotes are allowed, line breaks inside them are not.

Every line is a row, so an unterminated quote spoils only its own line.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from hybrid_platform.feeds.files.blocks import Row
from hybrid_platform.feeds.files.cells import RowError
from hybrid_platform.feeds.files.columns import TickParser
from hybrid_platform.feeds.files.lines import Lines

_PARSE = arrow_csv.ParseOptions(quote_char=False, double_quote=False, newlines_in_values=False)


def split_line(line: bytes) -> list[str]:
    """Return a line's cells; raise RowError(``bad_encoding`` or ``bad_csv``)."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise RowError("bad_encoding") from None
    if "\0" in text:
        raise RowError("bad_csv")
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error:
        raise RowError("bad_csv") from None


class CsvBlock:
    """Whole lines of one CSV file."""

    def __init__(self, lines: Lines, positions: Sequence[int], fits: Callable[[int], bool]) -> None:
        self._lines = lines
        self._positions = positions
        """Columns of the fields, in the order of `TickParser.fields`."""
        self._fits = fits
        """Whether a row may have this number of columns."""

    def __len__(self) -> int:
        return self._lines.total

    def columns(self, parser: TickParser) -> list[Any] | None:
        """Return the columns, or None unless pyarrow reads them exactly as `rows` does."""
        data = self._lines.data
        width = data.count(b",", 0, data.find(b"\n")) + 1
        if not self._fits(width) or b'"' in data or b"\0" in data or not _is_utf8(data) or _has_small_number(data):
            return None
        names = [str(position) for position in range(width)]
        wanted = [names[position] for position in self._positions]
        try:
            table = arrow_csv.read_csv(
                pa.BufferReader(data),
                read_options=arrow_csv.ReadOptions(use_threads=False, column_names=names, block_size=len(data) + 1),
                parse_options=_PARSE,
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict(zip(wanted, parser.arrow_types, strict=True)),
                    include_columns=wanted,
                    null_values=[],
                    strings_can_be_null=False,
                    check_utf8=False,
                ),
            )
        except pa.ArrowException:
            return None
        if table.num_rows != len(self):
            return None
        return [column.combine_chunks() if column.num_chunks != 1 else column.chunk(0) for column in table.columns]

    def rows(self) -> Iterator[Row]:
        """Yield each line that is not blank."""
        for number, line in enumerate(self._lines.data.splitlines(), self._lines.first):
            if line.strip():
                yield Row(number, self._cells(line), line)

    def _cells(self, line: bytes) -> tuple[object, ...] | RowError:
        try:
            cells = split_line(line)
        except RowError as error:
            return error
        if not self._fits(len(cells)):
            return RowError("bad_columns")
        return tuple(cells[position] for position in self._positions)

    def split(self) -> tuple[CsvBlock, CsvBlock]:
        """Return two halves of about equal length, neither of them empty."""
        first, data, total, _ = self._lines
        cut = data.find(b"\n", len(data) // 2) + 1
        if cut == len(data):
            cut = data.rfind(b"\n", 0, cut - 1) + 1
        lower = data.count(b"\n", 0, cut)
        halves = Lines(first, data[:cut], lower), Lines(first + lower, data[cut:], total - lower)
        return CsvBlock(halves[0], self._positions, self._fits), CsvBlock(halves[1], self._positions, self._fits)


def _has_small_number(data: bytes) -> bool:
    """Return whether there is a number with a negative exponent: pyarrow 26 crashes on ``1e-2000000000``."""
    if b"-" not in data:
        return False
    text = np.frombuffer(data, np.uint8)
    minus = np.flatnonzero(text[2:] == ord("-")) + 2
    return bool((np.isin(text[minus - 1], list(b"eE")) & np.isin(text[minus - 2], list(b"0123456789."))).any())


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
