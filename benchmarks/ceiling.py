"""Ceiling for one session's rows: ``python benchmarks/ceiling.py BOT.DB`` prints JSON.

The bare driver alone writes the rows of all tables of the session, prepared in the form that it needs, into the same
schema with the same PRAGMAs and the same number of commits. The fastest number of rows per statement depends on the
machine, so each number is tried, and the fastest counts.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from bench_writer import ROWS_A_COMMIT, fresh_writer

from hybrid_platform.storage.rows import MAX_PARAMETERS
from hybrid_platform.storage.schema import COUNTED_TABLES, TICK_BATCHES

ROWS_A_STATEMENT = (32, 256, 1_024, MAX_PARAMETERS)
PRAGMAS = ("synchronous = 1", "temp_store = 2", "wal_autocheckpoint = 4096")
Statements = list[tuple[str, list[list[Any]]]]


def read_rows(database: Path) -> dict[str, tuple[list[str], list[tuple[Any, ...]]]]:
    """Return table -> its columns that are not empty, and the rows of the database's only session."""
    found = {}
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        for table in (*(table.name for table in COUNTED_TABLES.values()), TICK_BATCHES.name):
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            filled = [
                name
                for name in names
                if connection.execute(f"SELECT 1 FROM {table} WHERE {name} IS NOT NULL LIMIT 1").fetchone()
            ]
            if filled:
                rows = connection.execute(f"SELECT {', '.join(filled)} FROM {table} ORDER BY 1, 2").fetchall()
                found[table] = (filled, rows)
    return found


def build_plan(tables: dict[str, tuple[list[str], list[tuple[Any, ...]]]], rows_a_statement: int) -> list[Statements]:
    """Return the statements of each commit with their values; the rows of every table are spread over all commits."""
    commits = max(1, sum(len(rows) for _, rows in tables.values()) // ROWS_A_COMMIT)
    plan: list[Statements] = []
    for commit in range(commits):
        statements: Statements = []
        for table, (columns, rows) in tables.items():
            part = rows[len(rows) * commit // commits : len(rows) * (commit + 1) // commits]
            size, start = min(rows_a_statement, MAX_PARAMETERS // len(columns)), 0
            while start < len(part):
                while size > len(part) - start:
                    size = max(1, size // 4)
                end = start + (len(part) - start) // size * size
                row = f"({', '.join('?' * len(columns))})"
                insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * size)}"
                groups = [[value for row in part[at : at + size] for value in row] for at in range(start, end, size)]
                statements.append((insert, groups))
                start = end
        plan.append(statements)
    return plan


def measure_plan(plan: list[Statements]) -> tuple[float, float]:
    """Write a plan into a fresh database; return wall and CPU seconds."""
    with fresh_writer() as (_, path):
        connection = sqlite3.connect(path, isolation_level=None)
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        wall, cpu = time.perf_counter(), time.thread_time()
        for statements in plan:
            connection.execute("BEGIN IMMEDIATE")
            for statement, groups in statements:
                connection.executemany(statement, groups)
            connection.execute("COMMIT")
        took = time.perf_counter() - wall, time.thread_time() - cpu
        connection.close()
    return took


def measure_ceiling(database: Path) -> dict[str, Any]:
    """Return the fastest rate for the rows of a database, by the wall clock and by CPU time."""
    tables = read_rows(database)
    rows = sum(len(rows) for _, rows in tables.values())
    took = {size: measure_plan(build_plan(tables, size)) for size in ROWS_A_STATEMENT}
    return {
        "rows": rows,
        "rows_per_second": round(rows / min(wall for wall, _ in took.values())),
        "rows_per_cpu_second": round(rows / min(cpu for _, cpu in took.values())),
        "by_rows_a_statement": {size: round(rows / wall) for size, (wall, _) in took.items()},
    }


if __name__ == "__main__":
    print(json.dumps(measure_ceiling(Path(sys.argv[1]))))
