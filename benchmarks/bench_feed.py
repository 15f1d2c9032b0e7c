"""Throughput of the feeds alone, in rows per second, as JSON.

``python benchmarks/bench_feed.py [--rows N] [--repeats N] [FILE]`` replays FILE according to its preset or header.
Without FILE it generates rows shaped like the recorded SPY trades. Repeats are interleaved.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.feeds.base import Feed
from hybrid_platform.feeds.files import FileFeed
from hybrid_platform.feeds.synthetic import RandomWalkFeed
from hybrid_platform.settings.loading import load_settings

COLUMNS = {"ts": "ts_ms", "price": "price", "size": "size", "symbol": "symbol"}


def spy_shaped(rows: int) -> Iterator[tuple[int, str, int]]:
    """Yield ``(ts_ms, price, size)``; half of the neighbours share a millisecond, and prices step by cents."""
    ts, cents, state = 1_381_132_800_464, 16_741, 7
    for _ in range(rows):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        ts += (state >> 60) if state >> 63 else 0
        cents += (state >> 40) % 3 - 1
        yield ts, f"{cents / 100:.4f}", 100 * (1 + (state >> 20) % 15)


def generate(folder: Path, rows: int) -> dict[str, Path]:
    """Write the same rows as CSV, gzipped CSV, JSONL and Parquet."""
    paths = {name: folder / f"spy.{name}" for name in ("csv", "csv.gz", "jsonl", "parquet")}
    ticks = list(spy_shaped(rows))
    with paths["csv"].open("w", encoding="ascii") as file:
        file.write("symbol,ts_ms,price,size,exchange,conditions,suspicious\n")
        file.writelines(f"SPY,{ts},{price},{size},P,20002000,0\n" for ts, price, size in ticks)
    with paths["csv"].open("rb") as plain, gzip.open(paths["csv.gz"], "wb", 6) as packed:
        shutil.copyfileobj(plain, packed)
    with paths["jsonl"].open("w", encoding="ascii") as file:
        file.writelines(f'{{"symbol":"SPY","ts_ms":{ts},"price":{price},"size":{size}}}\n' for ts, price, size in ticks)
    columns = zip(*ticks, strict=True)
    table = pa.table([*map(list, columns), ["SPY"] * rows], names=["ts_ms", "price", "size", "symbol"])
    pq.write_table(table.set_column(1, "price", table["price"].cast(pa.float64())), paths["parquet"])
    return paths


def measure_rates(feed: dict[str, object]) -> tuple[int, float, float]:
    """Read a feed to its end; return the number of ticks, and the rates per second and per CPU second.

    The CPU rate is meaningful on a busy machine too.
    """
    table = InstrumentTable()
    settings = load_settings({"feed": feed}, environ={}).feed
    made: Feed
    if settings.synthetic:
        made = RandomWalkFeed(settings.synthetic, table, SystemClock(), None)
    else:
        assert settings.replay
        made = FileFeed(settings.replay, table, SystemClock())
    made.open()
    started, cpu = time.perf_counter(), time.process_time()
    ticks = sum(len(batch.ticks) for batch in made.batches(threading.Event()))
    return ticks, ticks / (time.perf_counter() - started), ticks / (time.process_time() - cpu)


def main() -> None:
    """Run the cases in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cases: dict[str, dict[str, object]] = {
            "synthetic": {"synthetic": {"ticks_per_second": "max", "ticks": options.rows}},
        }
        if options.file:
            cases[Path(options.file).name] = {"replay": {"path": options.file}}
        else:
            for name, path in generate(Path(folder), options.rows).items():
                cases[name] = {"replay": {"path": str(path), "columns": COLUMNS}}
        rates: dict[str, list[float]] = {name: [] for name in cases}
        cpu_rates: dict[str, list[float]] = {name: [] for name in cases}
        counts = {}
        for _ in range(options.repeats):
            for name, feed in cases.items():
                counts[name], rate, cpu_rate = measure_rates(feed)
                rates[name].append(rate)
                cpu_rates[name].append(cpu_rate)
    load = os.getloadavg()[0]
    result = {
        name: {
            "rows": counts[name],
            "rows_per_second": round(statistics.median(rates[name])),
            "best": round(max(rates[name])),
            "rows_per_cpu_second": round(statistics.median(cpu_rates[name])),
        }
        for name in cases
    }
    print(json.dumps({"feeds": result, "repeats": options.repeats, "load_average": round(load, 2)}, indent=2))


if __name__ == "__main__":
    main()
