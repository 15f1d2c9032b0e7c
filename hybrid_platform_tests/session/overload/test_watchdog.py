"""The watchdog names stuck and dead stages, silent feeds and hanging writers, with their exit codes (S13, L4)."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.errors import ExitCode
from hybrid_platform.feeds.synthetic import RandomWalkFeed
from hybrid_platform.session import runner as shadow
from hybrid_platform.session.overload import watchdog
from hybrid_platform.session.overload.watchdog import (
    FeedSilent,
    Finding,
    StageDead,
    StageStuck,
    Watchdog,
    WriterStuck,
    feed_timeout_s,
)
from hybrid_platform.session.stage import Stage, StageStatus
from hybrid_platform.session.strategy_host.process import MODULE
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.session import DEFAULT_ISOLATION
from hybrid_platform.storage.connection import LOCK_WAIT_SECONDS
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.writer import SessionWriter
from hybrid_platform_tests.support import (
    PROCESS_TIMEOUT_S,
    Artifacts,
    make_csv_rows,
    merge_settings,
    replay_feed,
    run_in_process,
    start_cli,
    synthetic_feed,
    write_csv,
)

pytestmark = pytest.mark.scenario("S13")

GUARDED = pytest.mark.skipif(DEFAULT_ISOLATION != "process", reason="this host has no kernel guard")
ISOLATIONS = ["thread", pytest.param("process", marks=GUARDED)]


class Quiet(Stage):
    """A stage whose activity the test sets."""

    def __init__(self) -> None:
        super().__init__("ingest", (), (), lambda *told: None)
        self.lives = True

    @property
    def is_alive(self) -> bool:
        return self.lives


class Watched:
    """Signs that a test sets, and a watchdog over them."""

    def __init__(self, *layers: dict[str, Any]) -> None:
        self.now, self.received = 0, 0
        self.current: list[StageStatus] = []
        self.ingest = Quiet()
        self.all_stages = (self.ingest,)
        self.dog = Watchdog(load_settings(*layers, environ={}), self, feed="synthetic", started=0)

    @property
    def rows_received(self) -> int:
        return self.received

    def statuses(self) -> list[StageStatus]:
        return self.current

    def wait(self, seconds: float, *statuses: StageStatus, is_draining: bool = False) -> Finding | None:
        """Look ten times a second, for so long or until something is found."""
        self.current = list(statuses)
        for _ in range(round(seconds * 10)):
            self.now += NS_PER_S // 10
            if (found := self.dog.check(self.now, is_draining=is_draining)) is not None:
                return found
        return None


STUCK = {"watchdog": {"stuck_seconds": 5, "feed_seconds": 10_000}}


def test_a_busy_stage_without_progress_is_stuck_and_named():
    watched = Watched(STUCK)
    idle, busy = StageStatus("execution", False, 7), StageStatus("strategy", True, 3, 60)
    assert watched.wait(4.9, idle, busy) is None
    found = watched.wait(1, idle, busy)
    assert found is not None and found.name == "strategy" and isinstance(found.error, StageStuck)
    assert found.error.exit_code is ExitCode.CRASH and not found.can_drain


def test_an_idle_stage_is_never_stuck():
    assert Watched(STUCK).wait(600, StageStatus("execution", False, 7), StageStatus("strategy", False, 3)) is None


@pytest.mark.parametrize("what", ["ticks ahead", "batches"])
def test_a_slow_stage_with_progress_is_not_stuck(what: str):
    watched = Watched(STUCK)
    for n in range(50):
        ahead, iterations = (64 - n, 1) if what == "ticks ahead" else (0, n)
        assert watched.wait(4.5, StageStatus("strategy", True, iterations, ahead)) is None


def test_with_blocking_channels_only_the_last_stage_is_stuck():
    """The busy stages before it may only be waiting for it."""
    blocking = {"feed": {"replay": {"path": "x.csv"}}}
    slow = [StageStatus("execution", True, n) for n in range(5)]
    watched = Watched(STUCK, blocking)
    for status in slow:
        assert watched.wait(4, status, StageStatus("strategy", True, 1), StageStatus("ingest", True, 1)) is None
    found = watched.wait(10, slow[-1], StageStatus("strategy", True, 1), StageStatus("ingest", True, 1))
    assert found is not None and found.name == "execution"
    live = Watched(STUCK)
    found = live.wait(10, StageStatus("persist", True, 1), StageStatus("strategy", True, 1))
    assert found is not None and found.name == "strategy", "in a live session no stage waits for the writer"


@pytest.mark.scenario("L4", "S12")
def test_a_writer_has_time_to_report_a_lock_itself():
    watched = Watched(STUCK)
    assert watched.wait(79, StageStatus("persist", True, 1)) is None
    found = watched.wait(5, StageStatus("persist", True, 1))
    assert found is not None and isinstance(found.error, WriterStuck)
    assert "the database's disk does not answer" in str(found.error)


def test_a_thread_that_ends_without_an_error_is_dead():
    watched = Watched(STUCK)
    watched.ingest.lives = False
    found = watched.wait(1)
    assert found is not None and found.name == "ingest" and isinstance(found.error, StageDead)
    watched.ingest.has_ended = True
    assert watched.wait(1) is None


def test_a_stage_whose_failure_report_fails_is_found_dead(recwarn: pytest.WarningsRecorder):
    def fails(stage: str, error: BaseException) -> None:
        raise SystemExit

    class Fails(Stage):
        def work(self) -> None:
            raise ValueError

    stage = Fails("strategy", (), (), fails)
    stage.start()
    assert stage.join(30) and not stage.has_ended


@pytest.mark.scenario("S4")
def test_a_feed_that_delivers_nothing_is_silent():
    """A feed that waits for the pipeline is not."""
    watched = Watched({"watchdog": {"feed_seconds": 30}})
    for n in range(5):
        watched.received = n
        assert watched.wait(29) is None
    watched.ingest.progress.mark_busy()
    assert watched.wait(600) is None
    watched.ingest.progress.mark_idle()
    assert watched.wait(600, is_draining=True) is None
    found = watched.wait(35)
    assert found is not None and isinstance(found.error, FeedSilent)
    assert (found.name, found.error.exit_code, found.can_drain) == ("feed", ExitCode.NETWORK, True)


@pytest.mark.scenario("S4")
def test_the_feed_timeout_follows_from_the_kind_of_feed():
    def patience(feed: dict[str, Any], **watchdog: Any) -> float | None:
        return feed_timeout_s(load_settings({"feed": feed, "watchdog": watchdog}, environ={}))

    binance = {"websocket": {"sources": [{"venue": "binance", "symbols": ["BTCUSDT"]}]}}
    assert patience(binance) == 2 * 8 * (60 + 10 + 30), "its own tries come first (S4)"
    assert patience(binance, feed_seconds=90) == 90
    assert patience({"synthetic": {"ticks_per_second": 0.001}}) == 120 + 1000
    assert patience({"synthetic": {"ticks_per_second": "max"}}, stuck_seconds=7) == 7
    assert patience({"replay": {"path": "x.csv"}}, feed_seconds=90) is None


def test_the_watchdog_does_not_change_trading_sha256():
    one, other = (load_settings({"watchdog": {"stuck_seconds": n}}, environ={}).trading_sha256 for n in (5, 6))
    assert one == other


# Whole sessions

STRATEGY = """
import time
from hybrid_platform.strategies import Params, Strategy


class Slow(Strategy[Params]):
    def on_tick(self, tick):
        time.sleep(0.25)
        while tick.seq > 12:
            time.sleep(0.05)
"""


@pytest.mark.scenario("L4")
@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_slow_strategy_continues_until_it_is_stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolation: str):
    """One batch, of which twelve ticks take twice the watchdog's patience and the next never ends."""
    module = f"slow_as_{isolation}"
    (tmp_path / f"{module}.py").write_text(STRATEGY)
    monkeypatch.syspath_prepend(tmp_path)
    path = write_csv(tmp_path / "trades.csv", make_csv_rows(30))
    settings = {"isolation": isolation, "watchdog": {"stuck_seconds": 1.5}, "drain_timeout_seconds": 3}
    strategy = {"strategy": {"name": f"{module}:Slow"}}
    ended = run_in_process(tmp_path / "data", replay_feed(path), strategy, settings, with_report=False)
    assert (ended.code, ended.session["exit_reason"], ended.session["is_clean"]) == (1, "StageStuck", 0)
    failure = ended.evidence("session")["failure"]
    assert failure.startswith("strategy: expected progress of a stage at work, got none for ")
    first = ended.logged("stage failed")[0]
    assert (first["stage"], first["error"]) == ("strategy", failure)
    assert ended.evidence("session")["pipeline_s"] > 12 * 0.25 + 1.5, "slow was not taken for stuck"
    assert ended.count("ticks") == 30, "what came in is kept"


@GUARDED
@pytest.mark.scenario("L4", "I1")
def test_a_stopped_sandboxed_process_is_named(tmp_path: Path):
    settings = merge_settings(
        synthetic_feed(50), {"seconds": 600, "watchdog": {"stuck_seconds": 2}, "drain_timeout_seconds": 0.5}
    )
    with start_cli(tmp_path, "shadow-run", settings=settings) as running:
        running.wait_for("signal generated")
        child = child_of(running.process.pid)
        os.kill(child, signal.SIGSTOP)
        ended = running.end()
    artifacts = Artifacts(tmp_path / "data")
    assert ended.code == 1, ended.text
    assert artifacts.session["exit_reason"] == "StageStuck"
    failure = artifacts.evidence("session")["failure"]
    assert failure.startswith("sandboxed process: expected a status each second, got none for")
    assert not Path(f"/proc/{child}").exists()


def child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = [int(each) for each in children if MODULE.encode() in Path(f"/proc/{each}/cmdline").read_bytes()]
    return found[0]


@pytest.mark.scenario("S4")
def test_a_silent_live_feed_ends_the_session_with_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = RandomWalkFeed.batches

    def silent(self: RandomWalkFeed, stop: Any) -> Any:
        yield next(whole(self, stop))
        stop.wait(60)

    monkeypatch.setattr(RandomWalkFeed, "batches", silent)
    settings = {"isolation": "thread", "seconds": 600, "watchdog": {"feed_seconds": 0.5}}
    ended = run_in_process(tmp_path / "data", synthetic_feed(100), settings, with_report=False)
    assert (ended.code, ended.session["exit_reason"], ended.session["state"]) == (10, "FeedSilent", "FAILED")
    failure = ended.evidence("session")["failure"]
    assert failure.startswith("feed: synthetic: expected data within 0.51 s, got none")
    assert ended.count("ticks") == 1 and ended.evidence("session")["ledger"]["balances"]


@pytest.mark.scenario("L4", "S12")
def test_a_write_that_hangs_ends_the_session_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    released = threading.Event()
    whole = SessionWriter._insert_ticks

    def hangs(self: SessionWriter, cursor: sqlite3.Cursor, *rows: Any) -> int:
        # As on an unresponsive disk: blocked inside SQLite, which holds the connection.
        cursor.connection.create_function("hang", 0, lambda: released.wait(PROCESS_TIMEOUT_S) and None)
        cursor.execute("SELECT hang()").fetchone()
        return whole(self, cursor, *rows)

    monkeypatch.setattr(SessionWriter, "_insert_ticks", hangs)
    monkeypatch.setattr(watchdog, "WRITER_SLACK_S", 1 - LOCK_WAIT_SECONDS)
    monkeypatch.setattr(shadow, "open_engine", partial(open_engine, lock_wait_seconds=0.5))
    settings = {"isolation": "thread", "seconds": 600, "watchdog": {"stuck_seconds": 1}}
    ended = run_in_process(
        tmp_path / "data",
        synthetic_feed(100),
        settings,
        with_report=False,
        before_postflight=lambda artifacts: released.set(),
    )
    assert ended.code == 1
    failure = ended.evidence("session")["failure"]
    assert failure.startswith("persist: expected a write to come back, got waiting for ")
    assert ended.evidence("session")["exit_reason"] == "WriterStuck"
