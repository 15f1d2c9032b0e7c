"""Playback speed of recordings, and replay of stored sessions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.ticks import TickBatch, batch_from_rows
from hybrid_platform.feeds.files import FileFeed
from hybrid_platform.feeds.recorded_session import RecordedSessionFeed
from hybrid_platform.settings.loading import load_settings
from hybrid_platform_tests.feeds.support import (
    COLUMNS,
    T0,
    ManualClock,
    ReplayResult,
    csv_text,
    good_rows,
    read,
    replay,
    replay_settings,
)


def paced(
    tmp_path: Path, seconds: list[float], speed: float, stop_at_ns: int | None = None
) -> tuple[ManualClock, list[tuple[int, int]]]:
    """Replay ticks at these seconds; return when each was yielded and its own time, in ns from the first."""
    path = tmp_path / "t.csv"
    path.write_text(csv_text(*(f"{T0 + round(1000 * second)},1,1,A" for second in seconds)))
    clock = ManualClock(stop_at_ns)
    feed = FileFeed(replay_settings(path, columns=COLUMNS, speed=speed), InstrumentTable(), clock)
    feed.open()
    handed = [(clock.now_ns, int(ts) - T0 * 10**6) for batch in feed.batches(clock) for ts in batch.ticks.ts_event]
    return clock, handed


@pytest.mark.parametrize("speed", [1, 10, 0.5])
def test_speed_is_a_factor_of_real_time(tmp_path: Path, speed: float) -> None:
    _, handed = paced(tmp_path, [0, 0.25, 0.25, 3, 3.001], speed)
    assert [(now, ts) for now, ts in handed] == [(round(ts / speed), ts) for _, ts in handed]
    assert len(handed) == 5


def test_a_tick_that_steps_back_in_time_is_due_at_once(tmp_path: Path) -> None:
    """The ticks after it keep their pace."""
    _, handed = paced(tmp_path, [0, 2, 1, 3], 1)
    assert [now for now, _ in handed] == [0, 2 * 10**9, 2 * 10**9, 3 * 10**9]


@pytest.mark.scenario("S13")
def test_a_long_wait_can_be_stopped(tmp_path: Path) -> None:
    """The wait for the next day consists of steps of at most one second."""
    clock, handed = paced(tmp_path, [0, 50_000], 1, stop_at_ns=90 * 10**9)
    assert len(handed) == 1
    assert max(clock.waits) <= 1.0
    assert clock.now_ns == 90 * 10**9


def test_a_late_process_catches_up(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(csv_text(*good_rows(9_000)))
    clock = ManualClock()
    feed = FileFeed(replay_settings(path, columns=COLUMNS, speed=1), InstrumentTable(), clock)
    feed.open()
    batches = feed.batches(clock)
    assert len(next(batches).ticks) == 1
    clock.now_ns += 8_500 * 10**9
    caught_up = 1
    while caught_up < 8_501:
        caught_up += len(next(batches).ticks)
    assert caught_up == 8_501
    assert not clock.waits


def test_rejections_are_reported_at_any_pace(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(csv_text("bad", *good_rows(2), "bad"))
    result = replay(path, ManualClock(), columns=COLUMNS, speed=1)
    assert (result.count, result.rejected) == (2, {"bad_columns": 2})


def test_a_stop_at_full_speed_ends_within_a_batch(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(csv_text(*good_rows(20_000)))
    clock = ManualClock(stop_at_ns=0)
    assert replay(path, clock, columns=COLUMNS).count == 0


# --- stored sessions ------------------------------------------------------------------------------


def stored(session_id: str, table: InstrumentTable) -> Iterator[TickBatch]:
    """Stand-in for the storage package."""
    if session_id != "20260102T030405Z-1a2b3c4d":
        raise ConfigError([Fault("feed.replay.session", "a session in the database", session_id)])
    index = table.intern("BINANCE", "BTCUSDT")
    for first in (0, 5_000):
        rows = [
            (index, 10**9 + k, k, 1, k, 10**18 + k * 10**6, 10**18 + k * 10**6 + 7) for k in range(first, first + 5_000)
        ]
        yield batch_from_rows(table, rows).with_seq_from(first + 1)


def again(session_id: str, **more: object) -> ReplayResult:
    table = InstrumentTable()
    settings = load_settings({"feed": {"replay": {"session": session_id, **more}}}, environ={}).feed.replay
    assert settings is not None
    feed = RecordedSessionFeed(settings, table, SystemClock(), stored)
    feed.open()
    return read(feed, table)


@pytest.mark.scenario("S8")
def test_a_stored_session_is_replayed() -> None:
    """Venues and receive times are the stored ones; sequence numbers are assigned again."""
    result = again("20260102T030405Z-1a2b3c4d")
    assert result.count == 10_000
    assert [item.venue for item in result.table] == ["BINANCE"]
    recv = np.concatenate([batch.ticks.ts_recv - batch.ticks.ts_event for batch in result.batches])
    assert (recv == 7).all()
    assert again("20260102T030405Z-1a2b3c4d", limit=4_500).count == 4_500


def test_an_unknown_session_is_refused_at_open() -> None:
    with pytest.raises(ConfigError, match=r"feed\.replay\.session: expected a session in the database, got nonsense"):
        again("nonsense")
