"""Sessions as pandas DataFrames, for analysts.

in: a reading engine · out: frames with the public columns; Decimals stay exact, times stay integer nanoseconds.
``frames(engine, session_id)["trades"]`` reads a whole table; use `ticks_between` or `export` for more ticks than fit
into memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import pandas as pd
import sqlalchemy as sa

from hybrid_platform.storage import schema, views
from hybrid_platform.storage.archive import read_archived_view
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.queries import ROWS_AT_ONCE, TickClock, find_seq_ranges, find_session, read_pages
from hybrid_platform.storage.types import ExactDecimal


class SessionFrames(Mapping[str, pd.DataFrame]):
    """Mapping from table names to a session's tables; each is read on access."""

    def __init__(self, engine: sa.Engine, session_id: str) -> None:
        self._engine = engine
        self._session_id = session_id

    def __getitem__(self, name: str) -> pd.DataFrame:
        """Return one table, in order; raise KeyError for an unknown name."""
        table = views.PUBLIC_TABLES[name]
        if table is views.TICKS:
            return _build_frame(
                chain.from_iterable(read_pages(self._engine, table, self._session_id, ROWS_AT_ONCE)), table.c
            )
        query = sa.select(table).where(table.c.session_id == self._session_id)
        if name in views.VIEWS:
            query = query.order_by(table.c[views.order_column(table)])
        return _query_frame(self._engine, [query], list(table.c))

    def __iter__(self) -> Iterator[str]:
        return iter(views.PUBLIC_TABLES)

    def __len__(self) -> int:
        return len(views.PUBLIC_TABLES)


def frames(engine: sa.Engine, session_id: str) -> SessionFrames:
    """Return a session's tables as frames; raise ConfigError for an unknown session."""
    return SessionFrames(engine, find_session(engine, session_id).session_id)


def list_sessions(engine: sa.Engine, last: int = 1_000) -> pd.DataFrame:
    """Return the ``last`` sessions, latest first, without their settings."""
    columns = [column for column in schema.SESSIONS.c if column.name != "settings"]
    return _query_frame(
        engine, [sa.select(*columns).order_by(schema.SESSIONS.c.session_no.desc()).limit(last)], columns
    )


def ticks_between(
    engine: sa.Engine, session_id: str, start_ns: int, end_ns: int, clock: TickClock = "ts_event"
) -> pd.DataFrame:
    """Return a session's ticks with start ≤ time < end by ``seq``, using the sparse index."""
    ticks = views.TICKS.c
    wanted = sa.select(views.TICKS).where(
        ticks.session_id == session_id, ticks[clock] >= start_ns, ticks[clock] < end_ns
    )
    queries = [
        wanted.where(ticks.seq.between(first, last)).order_by(ticks.seq)
        for first, last in find_seq_ranges(engine, session_id, start_ns, end_ns, clock)
    ]
    rows = _fetch(engine, queries)
    place = list(ticks).index(ticks[clock])
    # Continue in the archive after the last row: ticks that retention moves in the meantime are read exactly once.
    session_no, after = find_session(engine, session_id).session_no, rows[-1].seq if rows else -1
    for page in read_archived_view(engine, session_no, after=after, rows_at_once=ROWS_AT_ONCE):
        rows += [(session_id, *row) for row in page if start_ns <= row[place - 1] < end_ns]
    return _build_frame(rows, ticks)


def _query_frame(
    engine: sa.Engine, queries: Sequence[sa.Select[Any]], columns: Iterable[sa.Column[Any]]
) -> pd.DataFrame:
    return _build_frame(_fetch(engine, queries), columns)


def _fetch(engine: sa.Engine, queries: Sequence[sa.Select[Any]]) -> list[Any]:
    rows: list[Any] = []
    for query in queries:
        with transaction(engine, "reading a table") as connection:
            rows.extend(connection.execute(query))
    return rows


def _build_frame(rows: Iterable[Any], table_columns: Iterable[sa.Column[Any]]) -> pd.DataFrame:
    columns = list(table_columns)
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    return pd.DataFrame(
        {
            column.name: pd.Series(data, dtype=_choose_dtype(column), name=column.name)
            for column, data in zip(columns, values, strict=True)
        }
    )


def _choose_dtype(column: sa.Column[Any]) -> str:
    if isinstance(column.type, ExactDecimal):
        return "object"
    if isinstance(column.type, sa.Boolean):
        return "bool"
    if isinstance(column.type, sa.Float):
        return "float64"
    if isinstance(column.type, sa.Integer):
        return "Int64" if column.nullable and column.table is schema.SESSIONS else "int64"
    return "str"
