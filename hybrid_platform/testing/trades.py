"""Generated trades that look recorded: several per millisecond, repeated trades, gaps, prices in whole cents.

For tests, benchmarks and the shipped sample. They are determined by the seed alone and contain no real data.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

START_MS = 1_700_000_000_000
_CHUNK = 100_000


def trade_rows(
    count: int, *, symbol: str = "DEMO", seed: int = 7, start_price: float = 167.0
) -> Iterator[tuple[str, int, str, int]]:
    """Yield ``(symbol, ts_ms, price, size)`` in order of time."""
    random = np.random.default_rng(seed)
    cents, ts = round(start_price * 100), START_MS
    while count > 0:
        n = min(count, _CHUNK)
        count -= n
        # Half of all neighbouring trades share a millisecond, and most share a price.
        gaps = np.where(random.random(n) < 0.54, 0, random.integers(1, 400, n))
        moves = random.choice([-1, 0, 0, 0, 0, 1], n)
        walk = np.maximum(cents + np.cumsum(moves), 100)
        times = ts + np.cumsum(gaps)
        sizes = random.choice([100, 100, 100, 200, 300, 1000, 1], n)
        for when, price, size in zip(times.tolist(), walk.tolist(), sizes.tolist(), strict=True):
            yield symbol, when, f"{price // 100}.{price % 100:02d}", size
        cents, ts = int(walk[-1]), int(times[-1])


def write_trades(path: Path, count: int, **terms: object) -> Path:
    """Write a CSV file (gzipped where its name ends in .gz) with columns ``symbol,ts_ms,price,size``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("symbol", "ts_ms", "price", "size"))
    raw = path.open("wb")
    with raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") if path.suffix == ".gz" else raw as out:
        for row in trade_rows(count, **terms):  # type: ignore[arg-type]
            writer.writerow(row)
            if text.tell() > 1 << 20:
                out.write(text.getvalue().encode())
                text.seek(0)
                text.truncate()
        out.write(text.getvalue().encode())
    return path
