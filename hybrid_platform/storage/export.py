"""Export of a session's tables to Parquet or CSV files, in bounded memory.

in: a reading engine and a session's id · out: one file per table, complete or absent. Exact numbers are written as
canonical text, so that no reader rounds them. In CSV, text that a spreadsheet would interpret as a formula (it
begins with = + - @, a tab or a line end) is prefixed with ``'``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
import sqlalchemy as sa

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.storage import views
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.errors import Cause, DatabaseError
from hybrid_platform.storage.queries import find_session, read_pages
from hybrid_platform.storage.types import ExactDecimal, exact_text

Kind = Literal["parquet", "csv"]
ROWS_AT_ONCE = 50_000


def export_session(
    engine: sa.Engine,
    session_id: str,
    folder: Path,
    *,
    kind: Kind = "parquet",
    tables: Iterable[str] | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
) -> list[tuple[Path, int]]:
    """Write a session's tables (default: all public tables) to ``folder``; return each file with its number of rows.

    Files have mode 0600 and replace older ones of the same name once they are complete. Raises ConfigError for an
    unknown session or table, or a folder that is a link; DatabaseError if reading or writing fails.
    """
    find_session(engine, session_id)
    names = list(views.PUBLIC_TABLES if tables is None else tables)
    for name in names:
        if name not in views.PUBLIC_TABLES:
            raise ConfigError([Fault("tables", f"of {', '.join(views.PUBLIC_TABLES)}", repr(name[:80]))])
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.is_symlink():
            raise ConfigError([Fault("folder", "a directory, not a link", str(folder))])
        return [
            _export_table(engine, views.PUBLIC_TABLES[name], session_id, folder / f"{name}.{kind}", rows_at_once)
            for name in names
        ]
    except OSError as error:
        raise DatabaseError(Cause.FAILED, f"exporting to {folder}: {error.strerror or error}") from error


def _export_table(
    engine: sa.Engine, table: sa.Table, session_id: str, target: Path, rows_at_once: int
) -> tuple[Path, int]:
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    fields = pa.schema([(column.name, _arrow_type(column)) for column in table.c])
    is_csv = target.suffix == ".csv"
    rows = 0
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with _open_writer(file, fields, is_csv=is_csv) as writer:
                for page in _read_pages(engine, table, session_id, rows_at_once):
                    writer.write_batch(_build_batch(page, table, fields, is_csv=is_csv))
                    rows += len(page)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return target, rows


def _open_writer(file: Any, fields: pa.Schema, *, is_csv: bool) -> AbstractContextManager[Any]:
    if is_csv:
        return pyarrow.csv.CSVWriter(file, fields)  # type: ignore[no-any-return]
    return pyarrow.parquet.ParquetWriter(file, fields, compression="zstd")  # type: ignore[no-any-return]


def _read_pages(engine: sa.Engine, table: sa.Table, session_id: str, rows_at_once: int) -> Iterator[Sequence[Any]]:
    if table.name in views.VIEWS:
        yield from read_pages(engine, table, session_id, rows_at_once)
        return
    with transaction(engine, f"reading {table.name}") as connection:
        rows = connection.execute(sa.select(table).where(table.c.session_id == session_id)).fetchall()
    if rows:
        yield rows


def _build_batch(rows: Sequence[Any], table: sa.Table, fields: pa.Schema, *, is_csv: bool) -> pa.RecordBatch:
    arrays = []
    for column, field, values in zip(table.c, fields, zip(*rows, strict=True), strict=True):
        exact = isinstance(column.type, ExactDecimal)
        array = pa.array(map(exact_text, values) if exact else values, type=field.type)
        if is_csv and isinstance(column.type, sa.Text):
            array = _escape_formulas(array)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=fields)


def _escape_formulas(texts: pa.Array) -> pa.Array:
    is_formula = pc.match_substring_regex(texts, r"^[=+\-@\t\r\n]")
    return pc.if_else(is_formula, pc.binary_join_element_wise("'", texts, ""), texts)


def _arrow_type(column: sa.Column[Any]) -> pa.DataType:
    if isinstance(column.type, sa.Boolean):
        return pa.bool_()
    if isinstance(column.type, sa.Float):
        return pa.float64()
    return pa.int64() if isinstance(column.type, sa.Integer) else pa.string()
