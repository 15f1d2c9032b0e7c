"""Sessions while other processes use every core: responsive, and every dropped tick is counted (I7, S15)."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import NamedTuple

import pytest

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.records import DatabaseReport, HealthcheckRecord
from hybrid_platform.host.healthcheck import TIME_LIMIT_SECONDS, run_healthcheck
from hybrid_platform.log.events import LogEvent
from hybrid_platform.storage.location import default_url, sqlite_path
from hybrid_platform.storage.probe import probe_database
from hybrid_platform_tests.support import Artifacts, InProcessRun, run_in_process, synthetic_feed

SECONDS, RATE = 4, 200
HOG = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
HEARTBEAT = {"interval_seconds": 1, "late_seconds": 2}
LADDER = {"pressure_limit": 20, "step_up_seconds": 1, "step_down_seconds": 1, "stop_seconds": None}


@contextmanager
def hogs() -> Iterator[None]:
    """Run two CPU-bound processes per core at the same priority, for a bounded time."""
    running = [subprocess.Popen([sys.executable, "-c", HOG]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


class Hogged(NamedTuple):
    """A session next to CPU-bound processes, and the observations of a concurrent reader."""

    ended: InProcessRun
    reads: list[tuple[float, int]]
    """Duration of each read in seconds, and the number of ticks it found."""
    checks: list[HealthcheckRecord]


@pytest.fixture(scope="module")
def hogged(tmp_path_factory: pytest.TempPathFactory) -> Hogged:
    data_dir = tmp_path_factory.mktemp("hogged") / "data"
    settings = {"seconds": SECONDS, "isolation": "thread", "heartbeat": HEARTBEAT, "overload": LADDER}
    reads: list[tuple[float, int]] = []
    checks: list[HealthcheckRecord] = []

    def probe() -> DatabaseReport:
        return probe_database(default_url(data_dir))

    with hogs(), ThreadPoolExecutor(1) as pool:
        session = pool.submit(run_in_process, data_dir, synthetic_feed(RATE), settings, with_report=False)
        while not session.done():
            if sqlite_path(default_url(data_dir)).exists():
                began = time.monotonic()
                with suppress(sqlite3.OperationalError):  # before the schema is there
                    found = Artifacts(data_dir).rows("SELECT count(*) AS n FROM ticks")[0]["n"]
                    reads.append((time.monotonic() - began, found))
                if found_running(reads):
                    checks.append(run_healthcheck(probe, data_dir, SystemClock()))
            time.sleep(0.1)
        return Hogged(session.result(), reads, checks)


def found_running(reads: list[tuple[float, int]]) -> bool:
    return bool(reads) and reads[-1][1] > 0


pytestmark = pytest.mark.scenario("I7")


def test_healthcheck_passes_in_time(hogged: Hogged):
    assert len(hogged.checks) >= 3
    assert all(check.verdict.value == "PASS" and check.took_s < TIME_LIMIT_SECONDS for check in hogged.checks)


def test_readers_are_answered_during_writes(hogged: Hogged):
    assert len(hogged.reads) >= 3
    assert max(took for took, _ in hogged.reads) < 2
    assert len({count for _, count in hogged.reads}) >= 3, "readers see new rows"


@pytest.mark.scenario("G4")
def test_heartbeats_are_on_time(hogged: Hogged):
    beats = hogged.ended.evidence("session")["heartbeats"]
    assert beats["beaten"] >= SECONDS
    assert (beats["late"], beats["missing"]) == (0, 0)
    assert len(hogged.ended.logged("heartbeat late (G4)")) == beats["late"]


@pytest.mark.scenario("S15", "S6")
def test_every_missing_tick_is_counted(hogged: Hogged):
    ended, ledger = hogged.ended, hogged.ended.ledger()
    assert ended.code == 0, ended.output
    feed = {reason: ledger["feed", "synthetic", reason] for reason in ("received", "accepted", "sampled_out")}
    assert feed["received"] == SECONDS * RATE + 1, "every due tick arrived, possibly late"
    assert feed["received"] == feed["accepted"] + feed["sampled_out"]
    assert ended.count("ticks") == feed["accepted"] - ledger["channel", "persist", "dropped"]
    seq = [row["seq"] for row in ended.rows("SELECT seq FROM ticks ORDER BY seq")]
    assert len(seq) + ledger["channel", "persist", "dropped"] == seq[-1]
    assert ended.evidence("session")["ledger"]["balances"]
    assert ended.evidence("postflight")["verdict"] == "PASS"


@pytest.mark.scenario("S15")
def test_real_pressure_raises_the_throttle_level(hogged: Hogged):
    overload = hogged.ended.evidence("session")["overload"]
    assert overload["readings"] >= 3
    if overload["source"] != "PSI":
        pytest.skip("a load average follows too slowly for a short test")
    steps = hogged.ended.logged(LogEvent.LADDER_STEPPED)
    assert steps[0]["sample_every"] == 2 and "CPU pressure" in steps[0]["why"]
    assert hogged.ended.ledger()["feed", "synthetic", "sampled_out"] > 0
    (proof,) = [proof for proof in hogged.ended.evidence("postflight")["proofs"] if proof["id"] == "S15"]
    assert proof["verdict"] == "PASS"
