"""Parquet: the row groups of one file in slices of bounded size; columns keep their own types.

Integers and decimals stay exact, a float counts by its shortest decimal form, timestamps have their own unit, and
everything else is read as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from io import FileIO
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.feeds.files.blocks import Row
from hybrid_platform.feeds.files.columns import TickParser
from hybrid_platform.feeds.files.sources import PATH_SETTING, SourceError

_SLICE_ROWS = 32_768
_BUFFER = 1 << 20
_EXACT = ("ts", "ts_recv", "price", "ask", "size")
"""Fields whose integers and decimals are used unchanged."""


class Schema(NamedTuple):
    """The columns of a Parquet file."""

    names: list[str]
    types: list[Any]

    def timestamp_units(self, columns: Mapping[str, str], label: str) -> dict[str, str]:
        """Return field -> unit of its timestamp column; ``columns`` maps fields to names.

        Raises ConfigError for a column that holds neither numbers, texts, booleans nor timestamps.
        """
        faults, units = [], {}
        for field, name in columns.items():
            arrow_type = self.types[self.names.index(name)]
            if not _is_readable(arrow_type):
                expected = "a column of numbers, texts, booleans or timestamps"
                faults.append(Fault(PATH_SETTING, expected, f"`{name}` of type {arrow_type} in {label}"))
            elif pa.types.is_timestamp(arrow_type):
                units[field] = arrow_type.unit
        if faults:
            raise ConfigError(faults)
        return units


def read_schema(file: FileIO) -> Schema:
    """Return the columns; raise SourceError if the file is not readable Parquet."""
    try:
        schema = pq.ParquetFile(file).schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"is damaged: {_first_line(error)}") from None
    return Schema(schema.names, schema.types)


def _is_readable(arrow_type: Any) -> bool:
    if pa.types.is_dictionary(arrow_type):
        arrow_type = arrow_type.value_type
    checks = ("is_integer", "is_floating", "is_decimal", "is_string", "is_large_string", "is_boolean", "is_timestamp")
    return any(getattr(pa.types, check)(arrow_type) for check in checks)


class ParquetBlock:
    """Rows of one Parquet file."""

    def __init__(self, columns: Sequence[Any], first: int) -> None:
        self._columns = columns
        self._first = first

    def __len__(self) -> int:
        return len(self._columns[0])

    def columns(self, parser: TickParser) -> list[Any] | None:
        """Return the columns unchanged."""
        return list(self._columns) if len(self) and len(self._columns) == len(parser.fields) else None

    def rows(self) -> Iterator[Row]:
        """Yield each row."""
        cells = zip(*(column.to_pylist() for column in self._columns), strict=True)
        for number, row in enumerate(cells, self._first):
            yield Row(number, row, ",".join(_format_cell(cell) for cell in row))

    def split(self) -> tuple[ParquetBlock, ParquetBlock]:
        """Return the two halves of the block."""
        middle = len(self) // 2
        lower, upper = zip(*((column[:middle], column[middle:]) for column in self._columns), strict=True)
        return ParquetBlock(lower, self._first), ParquetBlock(upper, self._first + middle)


def parquet_blocks(file: FileIO, names: Sequence[str], fields: Sequence[str]) -> Iterator[ParquetBlock]:
    """Yield a file's rows; ``names`` are the columns of the fields, in the order of `TickParser.fields`."""
    first = 1
    try:
        reader = pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
        wanted = list(dict.fromkeys(names))
        for group in range(reader.num_row_groups):  # one at a time: a damaged group does not affect those before it
            for batch in reader.iter_batches(_SLICE_ROWS, row_groups=[group], columns=wanted, use_threads=False):
                columns = [
                    _prepare_column(batch.column(name), field) for name, field in zip(names, fields, strict=True)
                ]
                yield ParquetBlock(columns, first)
                first += batch.num_rows
    except (pa.ArrowException, OSError, KeyError) as error:
        raise SourceError(f"is damaged after row {first - 1}: {_first_line(error)}") from None


def _prepare_column(column: Any, field: str) -> Any:
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64())
    if field in _EXACT and (pa.types.is_integer(column.type) or pa.types.is_decimal(column.type)):
        return column
    return column.cast(pa.string())


def _format_cell(cell: object) -> str:
    return "" if cell is None else format(cell, "f") if isinstance(cell, Decimal) else str(cell)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
