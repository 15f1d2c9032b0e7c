"""A database locked by another process: only the writer waits, and no row is lost (S12, I6)."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import sqlite_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform_tests.support import Artifacts, merge_settings, start_cli, synthetic_feed, wait_until

LOCKED_SECONDS = 3
LONG_SECONDS = 30
IS_LONG = "HYBRID_PLATFORM_TEST_LONG" in os.environ
"""Set by `make faults`."""


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the write lock from this process while the session runs in another."""
    with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.mark.scenario("S12", "I6", "G4")
@pytest.mark.parametrize("seconds", [LOCKED_SECONDS, *([LONG_SECONDS] if IS_LONG else [])])
def test_locked_database_loses_nothing(tmp_path: Path, seconds: int):
    """Decisions continue while the writer waits for another process."""
    settings = merge_settings(
        synthetic_feed(50),
        {"seconds": 600, "isolation": "thread", "strategy": {"params": {"every": 5}}},
        {"heartbeat": {"interval_seconds": 2}, "risk": {"max_open_orders": 1000}},
        # The default capacity lasts four seconds at this rate; later ticks are evicted (see test_full_channels.py).
        {"channels": {"persist": 16_384}} if seconds > LOCKED_SECONDS else {},
    )
    artifacts = Artifacts(tmp_path / "data")
    with start_cli(tmp_path, "shadow-run", settings=settings) as running:
        running.wait_for("signal generated")
        wait_until(lambda: artifacts.rows("SELECT 1 FROM ticks LIMIT 1"), "the first commit")
        with locked(artifacts.database):
            began = len(running.log)
            before = artifacts.rows("SELECT count(*) AS n FROM ticks")[0]["n"]
            time.sleep(seconds)
            during = running.log[began:]
            assert artifacts.rows("SELECT count(*) AS n FROM ticks")[0]["n"] == before, "readers read, the writer waits"
        running.wait_for("signal generated", times=1 + len([x for x in during if x["message"] == "signal generated"]))
        running.process.terminate()
        ended = running.end()
    assert ended.code == 0, ended.text
    messages = [line["message"] for line in during]
    assert messages.count("signal generated") >= 10, "strategy and execution continued"
    assert messages.count("shadow order executed (I1: no network call)") >= 10
    (final,) = artifacts.logged("FINAL METRICS")
    assert final["bp_drops_persist"] == final["persist_errors"] == 0
    assert artifacts.count("ticks") == final["tick_count"]
    assert artifacts.count("trades") == final["trade_count"]
    assert artifacts.evidence("session")["heartbeats"]["late"] == 0
    assert artifacts.evidence("postflight")["verdict"] == "PASS"


@pytest.mark.scenario("S12", "S1")
def test_database_locked_at_the_start_is_waited_for(tmp_path: Path):
    short = merge_settings(synthetic_feed(20), {"seconds": 0.5, "isolation": "thread"})
    artifacts = Artifacts(tmp_path / "data")
    engine = open_engine(sqlite_url(artifacts.database), role="write")
    migrate(engine)
    engine.dispose()
    with start_cli(tmp_path, "shadow-run", settings=short) as running:
        with locked(artifacts.database):
            running.wait_for("preflight PASS")
            time.sleep(LOCKED_SECONDS)
            assert running.is_alive
            assert not running.has_logged("channels created (S6: bounded)")
        ended = running.end()
    assert ended.code == 0, ended.text
    assert [row["state"] for row in artifacts.sessions] == ["COMPLETE"]
