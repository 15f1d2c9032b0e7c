"""Merge of several files: by event time, stable, and without reordering a file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.ticks import batch_from_rows
from hybrid_platform.feeds.base import FeedBatch
from hybrid_platform.feeds.files import FileFeed, reader
from hybrid_platform.feeds.files.merge import merge_files
from hybrid_platform.settings.feeds import ReplayFeed
from hybrid_platform_tests.feeds.support import COLUMNS, T0, csv_text, replay


class Listed:
    """A file in memory: ``(time, id)`` rows cut into batches; an empty batch is one with a rejection."""

    def __init__(self, batches: list[list[tuple[int, int]]], table: InstrumentTable, knows_first: bool) -> None:
        self.rows = [row for batch in batches for row in batch]
        self._batches = batches
        self._table = table
        self._knows_first = knows_first
        self.begun = False

    def first_time(self) -> int | None:
        return self.rows[0][0] if self.rows and self._knows_first else None

    def batches(self) -> Iterator[FeedBatch]:
        self.begun = True
        for batch in self._batches:
            ticks = batch_from_rows(self._table, [(0, 1, 1, 0, ref, ts, ts) for ts, ref in batch])
            yield FeedBatch(ticks, len(batch) + (not batch), {} if batch else {"bad_time": 1})


files = st.lists(
    st.lists(st.lists(st.integers(0, 12), max_size=4), max_size=5),
    min_size=1,
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(files, st.booleans())
def test_merging_is_a_stable_sort(times: list[list[list[int]]], knows: bool) -> None:
    """The key is the running maximum of each file's own times."""
    table = InstrumentTable()
    table.intern("X", "A")
    names = iter(range(10**6))
    listed = [Listed([[(ts, next(names)) for ts in batch] for batch in file], table, knows) for file in times]
    out = list(merge_files(listed))
    keyed = []
    for order, file in enumerate(listed):
        high = -1
        for ts, ref in file.rows:
            high = max(high, ts)
            keyed.append(((high, order), ref))
    expected = [ref for _, ref in sorted(keyed, key=lambda item: item[0])]  # sorted is stable
    assert [
        ref for batch in out for ref in (batch.ticks.trade_ref.tolist() if batch.ticks.trade_ref is not None else [])
    ] == expected
    assert sum(sum(batch.rejected.values()) for batch in out) == sum(not batch for file in times for batch in file)
    assert all(batch.received == len(batch.ticks) + sum(batch.rejected.values()) for batch in out)


def test_a_file_is_opened_when_the_stream_reaches_it() -> None:
    table = InstrumentTable()
    table.intern("X", "A")
    days = [Listed([[(day * 10 + k, day)] for k in range(5)], table, True) for day in range(4)]
    begun = [sum(file.begun for file in days) for _ in merge_files(list(reversed(days)))]
    assert begun[0] == 1 and begun[-1] == 4
    assert begun == sorted(begun)


def written(tmp_path: Path, files: dict[str, list[int]]) -> list[Path]:
    paths = []
    for name, seconds in files.items():
        path = tmp_path / name
        path.write_text(csv_text(*(f"{T0 + 1000 * second},{second + 1},1,{name[0]}" for second in seconds)))
        paths.append(path)
    return paths


def test_files_are_merged_by_time_or_read_as_listed(tmp_path: Path) -> None:
    paths = written(tmp_path, {"b.csv": [0, 2, 4, 4], "a.csv": [1, 2, 3, 4]})
    merged_rows = replay(paths, columns=COLUMNS).rows
    assert [row[0] for row in merged_rows] == ["B", "A", "B", "A", "A", "B", "B", "A"]
    listed = replay(paths, columns=COLUMNS, order="listed").rows
    assert [row[0] for row in listed] == ["B"] * 4 + ["A"] * 4


@pytest.mark.scenario("S8")
def test_merging_does_not_depend_on_block_boundaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    paths = written(tmp_path, {f"{name}.csv": random.integers(0, 3_000, 4_000).tolist() for name in "abc"})
    whole = replay(paths, columns=COLUMNS).rows
    monkeypatch.setattr("hybrid_platform.feeds.files.sources._FIRST_CHUNK", 700)
    monkeypatch.setattr("hybrid_platform.feeds.files.sources.MAX_CHUNK", 1_500)
    assert replay(paths, columns=COLUMNS).rows == whole
    assert len(whole) == 12_000


def test_ids_of_mixed_types_are_merged_as_text(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"ts": "ts", "price": "price", "trade_id": "id"}
    for name, ids in {"a": {0: "7", 4: "8"}, "b": {1: "x", 3: ""}, "c": {2: ""}}.items():
        rows = (f"{T0 + ms},1,{ref}" for ms, ref in ids.items())
        (tmp_path / f"{name}.csv").write_text(csv_text(*rows, header="ts,price,id"))
    result = replay(str(tmp_path / "*.csv"), columns=columns, symbol="A")
    assert [None if row[4] is None else str(row[4]) for row in result.rows] == ["7", "x", None, None, "8"]


def test_many_files_are_not_open_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = written(tmp_path, {f"{name}.csv": [at * 10, at * 10 + 1] for at, name in enumerate("abcdefghij")})
    opened: list[str] = []
    closed: list[str] = []
    at_once: list[int] = []

    class Watched(reader.SourceReader):
        def batches(self) -> Iterator[FeedBatch]:
            opened.append(self.source.label)
            try:
                yield from super().batches()
            finally:
                closed.append(self.source.label)

    monkeypatch.setattr(reader, "SourceReader", Watched)
    feed = FileFeed(ReplayFeed(path=[str(path) for path in paths], columns=COLUMNS), InstrumentTable(), SystemClock())
    feed.open()
    for _ in feed.batches(threading.Event()):
        at_once.append(len(opened) - len(closed))
    assert len(opened) == 20, "each file is opened twice: for its first time, then to be read"
    assert max(at_once) <= 2
