"""Helpers of the feed tests.

`ManualClock`: a clock that only moves by waiting. `ReplayResult`: everything that a feed yielded.
`read`: read an open feed to its end. `replay`: replay files to the end. `replay_settings`: validated settings.
`csv_text`: a CSV file from rows. `good_rows`: valid rows, one per second.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.errors import FeedParseError
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.feeds.base import Feed, FeedBatch, Rejection
from hybrid_platform.feeds.files import FileFeed
from hybrid_platform.feeds.pacing import MAX_BATCH_TICKS
from hybrid_platform.settings.feeds import ReplayFeed
from hybrid_platform.settings.loading import load_settings

START_WALL_NS = 1_700_000_000_000_000_000


class ManualClock:
    """A `Clock` and `Stopper` in one: time passes only by waiting or by assignment. Waits are recorded."""

    def __init__(self, stop_at_ns: int | None = None) -> None:
        self.now_ns = 0
        self.waits: list[float] = []
        self._stop_at_ns = stop_at_ns

    def monotonic_ns(self) -> int:
        return 5_000 + self.now_ns

    def wall_ns(self) -> int:
        return START_WALL_NS + self.now_ns

    def is_set(self) -> bool:
        return self._stop_at_ns is not None and self.now_ns >= self._stop_at_ns

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None and timeout > 0
        self.waits.append(timeout)
        ends_at = self.now_ns + max(1, round(timeout * 1e9))
        self.now_ns = ends_at if self._stop_at_ns is None else max(self.now_ns, min(ends_at, self._stop_at_ns))
        return self.is_set()


@dataclass
class ReplayResult:
    """Everything that a feed yielded up to its end."""

    table: InstrumentTable
    batches: list[FeedBatch] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    samples: list[Rejection] = field(default_factory=list)
    received: int = 0
    error: FeedParseError | None = None

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """``(symbol, price units, size units, side, trade_ref, ts_event, ts_recv)`` of every tick."""
        return [(self.table[row[1]].symbol, *row[2:]) for batch in self.batches for row in batch.ticks.rows()]

    @property
    def prices(self) -> list[str]:
        return [str(tick.price.normalize()) for batch in self.batches for tick in batch.ticks.ticks()]

    @property
    def count(self) -> int:
        return sum(len(batch.ticks) for batch in self.batches)


def read(feed: Feed, table: InstrumentTable, stop: Any = None) -> ReplayResult:
    """Read an open feed to its end and check the accounting of every batch."""
    result = ReplayResult(table)
    try:
        for batch in feed.batches(stop or threading.Event()):
            assert batch.received == len(batch.ticks) + sum(batch.rejected.values()) + batch.history
            assert len(batch.ticks) <= MAX_BATCH_TICKS
            assert not batch.ticks.seq.any()
            result.batches.append(batch)
            result.rejected.update(batch.rejected)
            result.samples += batch.samples
            result.received += batch.received
    except FeedParseError as error:
        result.error = error
    feed.close()
    return result


def replay(
    path: Path | list[Path] | str,
    clock: Any = None,
    instruments: dict[tuple[str, str], Instrument] | None = None,
    **settings: Any,
) -> ReplayResult:
    """Replay files with these settings to their end."""
    table = InstrumentTable(instruments)
    feed = FileFeed(replay_settings(path, **settings), table, clock or SystemClock())
    feed.open()
    return read(feed, table, clock)


def replay_settings(path: Path | list[Path] | str, **settings: Any) -> ReplayFeed:
    """Return validated settings of a replay of files."""
    paths = [str(item) for item in path] if isinstance(path, list) else str(path)
    loaded = load_settings({"feed": {"replay": {"path": paths, **settings}}}, environ={})
    assert loaded.feed.replay is not None
    return loaded.feed.replay


COLUMNS = {"ts": "ts", "price": "price", "size": "size", "symbol": "symbol"}
HEADER = "ts,price,size,symbol"
T0 = 1_700_000_000_000


def csv_text(*rows: str, header: str = HEADER) -> str:
    """Return the text of a CSV file."""
    return "\n".join([header, *rows]) + "\n"


def good_rows(count: int, first: int = 0) -> list[str]:
    """Return ``count`` valid rows, one per second."""
    return [f"{T0 + 1000 * k},{100 + k % 7}.25,{1 + k % 3},SPY" for k in range(first, first + count)]
