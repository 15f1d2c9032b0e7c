"""Many rows a statement: the only code here that is shaped by speed.

in: the values of many rows, flat · out: how many rows are new. sqlite3 gives the GIL away at each step
and gets it back one switch interval later if another thread computes (DESIGN 3, the convoy). Measured with
the bare driver on two otherwise idle cores: 32 rows a statement fall from 900,000 rows a second to 20,000
beside a busy Python thread; as many rows as SQLite's own limit on parameters allows (4,095 ticks) keep
280,000, and are as fast alone. A machine with other work hides this. See benchmarks/bench_writer.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

MAX_PARAMETERS = 32_766
"""SQLITE_MAX_VARIABLE_NUMBER as SQLite ships; builds that allow more gain nothing from it when alone."""


class ManyRows:
    """Inserts rows of one table for one session; a row whose key is there already is left as it is."""

    def __init__(
        self,
        table: str,
        columns: Sequence[str],
        session_no: int,
        *,
        key: str,
        on_conflict: str = "NOTHING",
        max_parameters: int = MAX_PARAMETERS,
    ) -> None:
        """``key`` and the session make a row unique; ``on_conflict`` is what follows ``DO``."""
        self.table = table
        self._columns = columns
        self._key = columns.index(key)
        self._session_no = session_no
        self._into = f"INSERT INTO {table} (session_no, {', '.join(columns)}) VALUES "  # noqa: S608
        self._row = f"({session_no}{', ?' * len(columns)})"
        self._tail = f" ON CONFLICT (session_no, {key}) DO {on_conflict}"
        self._sizes = _sizes(max_parameters // len(columns))
        self._statements: dict[int, str] = {}

    def insert(self, cursor: sqlite3.Cursor, values: list[Any]) -> int:
        """Insert the rows whose values are given one after the other; return how many changed the table."""
        changed = start = 0
        width = len(self._columns)
        for size in self._sizes:
            step = size * width
            if step == len(values):  # as it mostly is for ticks: nothing is copied
                return cursor.execute(self._statement(size), values).rowcount
            end = start + (len(values) - start) // step * step
            if end > start:
                cursor.executemany(self._statement(size), [values[at : at + step] for at in range(start, end, step)])
                changed += cursor.rowcount
                start = end
        return changed

    def first_different(self, cursor: sqlite3.Cursor, values: list[Any], ignore: str = "") -> Any:
        """Return the key of the first row that stands in the table with other values, or None.

        Slow; only asked when rows were there already.
        """
        same = [f"{name} IS ?" for name in self._columns if name != ignore]
        query = f"SELECT 1 FROM {self.table} WHERE session_no = {self._session_no} AND {' AND '.join(same)}"  # noqa: S608
        width = len(self._columns)
        for at in range(0, len(values), width):
            row = values[at : at + width]
            wanted = [value for name, value in zip(self._columns, row, strict=True) if name != ignore]
            if cursor.execute(query, wanted).fetchone() is None:
                return row[self._key]
        return None

    def _statement(self, size: int) -> str:
        if size not in self._statements:
            self._statements[size] = self._into + ", ".join([self._row] * size) + self._tail
        return self._statements[size]


def _sizes(largest: int) -> list[int]:
    """Return rows a statement, descending to 1: at most three steps of each size but the first."""
    sizes = [4**power for power in range(12) if 4**power < largest]
    return [largest, *reversed(sizes)]
