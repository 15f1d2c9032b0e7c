"""The stand-alone checks: their evidence, their events, and the conditions that fail them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from hybrid_platform.domain.clocks import NS_PER_S, iso_utc
from hybrid_platform.domain.ids import make_session_id
from hybrid_platform.evidence.files import CHECKS
from hybrid_platform.host.process import this_process
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import sqlite_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform.storage.session_records import SessionStart
from hybrid_platform.storage.sessions import SessionStore
from hybrid_platform.supervision.observe import read_last_preflight
from hybrid_platform_tests.defs.conftest import Job, Launcher


def evidence_of(job: Job, kind: str) -> dict[str, object]:
    (path,) = (job.artifacts.data_dir / "evidence" / "checks").glob(f"*-{kind}.json")
    return dict(json.loads(path.read_text()))


@pytest.mark.scenario("G1", "G2")
def test_a_preflight_alone_is_found_by_the_supervisor(launch: Launcher):
    assert read_last_preflight(DataDir(launch.data_dir), time.time_ns()) is None
    job = launch(job="preflight")
    assert job.result.success
    assert (job.materialised, job.checks) == (["preflight_check"], {"passed": True})
    assert evidence_of(job, "preflight")["verdict"] == "PASS"
    seen = read_last_preflight(DataDir(launch.data_dir), time.time_ns())
    assert seen is not None and seen.passed and seen.reasons == ""


@pytest.mark.scenario("G2")
def test_failed_preflight_has_reasons_and_fails_its_run(launch: Launcher):
    job = launch({"gates": {"cpu_pressure_limit": 0, "pressure_wait_seconds": 0}}, job="preflight")
    assert not job.result.success
    assert (job.materialised, job.checks) == (["preflight_check"], {"passed": False}), "it was made, and is fresh"
    assert job.tags["exit_code"] == "13"
    seen = read_last_preflight(DataDir(launch.data_dir), time.time_ns())
    assert seen is not None and not seen.passed and seen.reasons.startswith("CPU pressure")


def test_a_postflight_alone_names_a_session_whose_process_is_gone(launch: Launcher):
    """A killed session cannot report its end; its row is RUNNING until the next start."""
    engine = open_engine(sqlite_url(launch.data_dir / "bot.db"), role="write")
    migrate(engine)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    gone = msgspec.structs.replace(this_process(), pid=process.pid, pid_started=1)
    SessionStore(engine).start(SessionStart("killed", "run", load_settings({}, environ={}), "0", 1, gone))
    engine.dispose()
    job = launch(job="postflight")
    assert not job.result.success
    (reason,) = evidence_of(job, "postflight")["reasons"]  # type: ignore[misc]
    assert reason == f"last session killed: RUNNING, but its process {process.pid} is gone"
    assert job.tags["exit_code"] == "1"


@pytest.mark.parametrize("content", ["", "{", '{"verdict": "PASS"}', '{"verdict": "PASS", "reasons": [], "at": "x"}'])
def test_evidence_of_a_check_that_cannot_be_read_is_none(tmp_path: Path, content: str):
    data_dir = DataDir(tmp_path)
    data_dir.write_atomic("evidence/checks/1-preflight.json", content.encode())
    assert read_last_preflight(data_dir, time.time_ns()) is None


def test_a_preflight_from_the_future_hides_no_valid_one(tmp_path: Path):
    data_dir, now = DataDir(tmp_path), 1_800_000_000 * NS_PER_S

    def leave(at: int) -> None:
        content = {"verdict": "PASS", "reasons": [], "at": iso_utc(at)}
        name = f"{CHECKS}/{make_session_id(at, 'run')}-preflight.json"
        data_dir.write_atomic(name, json.dumps(content).encode())

    def seen_at() -> int:
        seen = read_last_preflight(data_dir, now)
        assert seen is not None
        return seen.at_ns - now

    leave(now + 3600 * NS_PER_S)
    assert seen_at() == 3600 * NS_PER_S, "there is no other"
    leave(now - 60 * NS_PER_S)
    assert seen_at() == -60 * NS_PER_S
    leave(now + NS_PER_S)
    assert seen_at() == NS_PER_S, "as much as two readings of a clock may differ"
