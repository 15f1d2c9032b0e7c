"""Throughput of the session's writer, compared with the fastest that sqlite3 can do with the same rows.

    python benchmarks/bench_writer.py [--ticks 1000000] [--repeats 5] > writer.json

For the ceiling, the bare driver writes the rows of the session, prepared in the form that it needs, into the same
schema with the same PRAGMAs and commits, with the fastest number of rows per statement. The measures of one repeat run
consecutively, so that other load of the machine affects all of them. The result is the median. Ratios are computed
within each repeat, by the wall clock and, for a machine that runs other work too, by the CPU time of the writing
thread. The rates next to a busy Python thread show the cost of the interpreter lock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import (
    OrderEventRecord,
    OrderRecord,
    OrderStatus,
    OrderType,
    Record,
    Side,
    SignalRecord,
    TimeInForce,
    TradeRecord,
)
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.host.process import this_process
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import default_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform.storage.rows import MAX_PARAMETERS, TICK_COLUMNS
from hybrid_platform.storage.session_records import SessionStart
from hybrid_platform.storage.sessions import SessionStore
from hybrid_platform.storage.writer import SessionWriter

ROWS_A_COMMIT = 16_384
TICKS_A_BATCH = 4_096
Rates = tuple[float, float]
"""Rows per second by the wall clock, and by the thread's CPU time."""
BUSY_ROWS = 100_000
"""Rows for the measures next to a busy thread; more would take minutes with few rows per statement."""


def make_ticks(count: int) -> list[TickBatch]:
    """Return a random walk of one instrument, one tick per millisecond, in batches like those of a replay."""
    rng = np.random.default_rng(7)
    table = InstrumentTable()
    table.intern("SYNTHETIC", "SOL/USDC")
    ts = 1_700_000_000_000_000_000 + np.arange(count, dtype=np.int64) * 1_000_000
    ticks = TickBatch(
        table,
        np.arange(1, count + 1, dtype=np.int64),
        np.zeros(count, dtype=np.int64),
        100_000_000_000 + np.cumsum(rng.integers(-5, 6, count)) * 10_000_000,
        rng.integers(1, 500, count) * 1_000_000_000,
        rng.integers(-1, 2, count).astype(np.int8),
        np.arange(count, dtype=np.int64) + 10**9,
        ts,
        ts,
    )
    return [ticks[start : start + TICKS_A_BATCH] for start in range(0, count, TICKS_A_BATCH)]


def make_records(orders: int) -> list[Record]:
    """Return the records of orders that fill at once: for each a signal, an order, its events and a trade."""
    states = (OrderStatus.INITIALIZED, OrderStatus.SUBMITTED, OrderStatus.ACCEPTED, OrderStatus.FILLED)
    records: list[Record] = []
    for k in range(1, orders + 1):
        seq, side = 16 * k, Side.BUY if k % 2 else Side.SELL
        ts, size, price = 1_700_000_000_000_000_000 + seq, Decimal("0.1"), Decimal(14_000 + k % 997) / 100
        about = ("SYNTHETIC", "SOL/USDC", side)
        terms = (OrderType.MARKET, size, price, TimeInForce.GTC, False)
        records.append(SignalRecord(f"S{seq}", seq, *about, size, 0.75, "SMA_CROSSOVER", ts))
        records.append(OrderRecord(f"O{seq}", f"S{seq}", seq, *about, *terms, states[0], True, ts))
        records += [OrderEventRecord(4 * k + n, f"O{seq}", state, "", ts) for n, state in enumerate(states)]
        records.append(OrderRecord(f"O{seq}", f"S{seq}", seq, *about, *terms, states[-1], True, ts))
        fee = price * size / 1000
        records.append(TradeRecord(k, f"T{seq}-1", f"O{seq}", *about, size, price, fee, True, ts))
    return records


@contextmanager
def fresh_writer() -> Iterator[tuple[SessionWriter, Path]]:
    """Yield a writer on a new database, and the database's path."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        engine = open_engine(default_url(folder), role="write")
        migrate(engine)
        SessionStore(engine).start(SessionStart("bench", "bench", SessionSettings(), "bench", 0, this_process()))
        with SessionWriter(engine, "bench") as writer:
            yield writer, Path(folder) / "bot.db"


@contextmanager
def busy_thread() -> Iterator[None]:
    """Run a thread that computes in Python all the time."""
    stop = threading.Event()

    def burn() -> None:
        while not stop.is_set():
            for _ in range(1_000):
                pass

    thread = threading.Thread(target=burn)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Stopwatch:
    """Stopwatch that starts when it is created."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.thread_time()

    def rates(self, rows: int) -> Rates:
        """Return the rates for this number of rows until now."""
        return rows / (time.perf_counter() - self._wall), rows / (time.thread_time() - self._cpu)


def write_ticks(batches: list[TickBatch]) -> Rates:
    """Measure the session's writer on ticks."""
    each = ROWS_A_COMMIT // TICKS_A_BATCH
    with fresh_writer() as (writer, _):
        watch = Stopwatch()
        for start in range(0, len(batches), each):
            writer.write(batches[start : start + each], [])
        return watch.rates(writer.written["ticks"])


def write_records(records: list[Record]) -> Rates:
    """Measure the session's writer on audit rows."""
    with fresh_writer() as (writer, _):
        watch = Stopwatch()
        for start in range(0, len(records), ROWS_A_COMMIT):
            writer.write([], records[start : start + ROWS_A_COMMIT])
        return watch.rates(sum(writer.written.values()))


def bare_ticks(batches: list[TickBatch], rows_a_statement: int) -> Rates:
    """Measure the bare driver with rows that are prepared beforehand."""
    width = len(TICK_COLUMNS)
    table = np.concatenate(
        [
            np.column_stack([b.seq, b.instrument + 1, b.price, b.size, b.side, b.ts_event, b.ts_recv, b.trade_ref])
            for b in batches
        ]
    )
    into = f"INSERT INTO tick_rows (session_no, {', '.join(TICK_COLUMNS)}) VALUES "
    row = f"(1{', ?' * width})"
    commits: list[list[tuple[str, list[list[int]]]]] = []
    for start in range(0, len(table), ROWS_A_COMMIT):
        values = table[start : start + ROWS_A_COMMIT].ravel().tolist()
        full = len(values) // (width * rows_a_statement) * width * rows_a_statement
        commits.append(
            [
                (
                    into + ", ".join([row] * size),
                    [values[a : a + size * width] for a in range(begin, end, size * width)],
                )
                for size, begin, end in ((rows_a_statement, 0, full), (1, full, len(values)))
            ]
        )
    with fresh_writer() as (_, path):
        connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("synchronous = 1", "temp_store = 2", "wal_autocheckpoint = 4096"):
            connection.execute(f"PRAGMA {pragma}")
        watch = Stopwatch()
        for statements in commits:
            connection.execute("BEGIN IMMEDIATE")
            for statement, rows in statements:
                connection.executemany(statement, rows)
            connection.execute("COMMIT")
        rates = watch.rates(len(table))
        connection.close()
    return rates


def main() -> None:
    """Run the measures, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, default=1_000_000)
    parser.add_argument("--orders", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    ticks, records = make_ticks(options.ticks), make_records(options.orders)
    few = make_ticks(min(options.ticks, BUSY_ROWS))
    sizes = (16, 32, 40, 1_024, MAX_PARAMETERS // len(TICK_COLUMNS))
    measures: dict[str, tuple[Any, Callable[[], Rates]]] = {
        "writer_ticks": (nullcontext, lambda: write_ticks(ticks)),
        "writer_records": (nullcontext, lambda: write_records(records)),
        "writer_ticks_with_busy_thread": (busy_thread, lambda: write_ticks(few)),
        "writer_records_with_busy_thread": (busy_thread, lambda: write_records(records)),
        "bare_ticks_32_with_busy_thread": (busy_thread, lambda: bare_ticks(few, 32)),
        **{f"bare_ticks_{size}": (nullcontext, lambda size=size: bare_ticks(ticks, size)) for size in sizes},
    }
    rates: dict[str, list[Rates]] = {name: [] for name in measures}
    for _ in range(options.repeats):
        for name, (context, measure) in measures.items():
            with context():
                rates[name].append(measure())
    result: dict[str, Any] = {
        "what": {"ticks": options.ticks, "orders": options.orders, "repeats": options.repeats, "unit": "rows a second"},
        "host": {
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "cores": os.cpu_count(),
            "load_average_after": os.getloadavg(),
        },
    }
    for place, clock in enumerate(("wall_clock", "cpu_time")):
        by_clock = {name: [found[place] for found in each] for name, each in rates.items()}
        median = {name: round(statistics.median(each)) for name, each in by_clock.items()}
        ceiling = max((f"bare_ticks_{size}" for size in sizes), key=lambda name: median[name])
        ratios = [rate / most for rate, most in zip(by_clock["writer_ticks"], by_clock[ceiling], strict=True)]
        result[clock] = {
            "median": median,
            "best": {name: round(max(each)) for name, each in by_clock.items()},
            "ceiling": ceiling,
            "writer_to_ceiling": round(statistics.median(ratios), 3),
            "writer_to_ceiling_each": [round(ratio, 3) for ratio in ratios],
        }
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
