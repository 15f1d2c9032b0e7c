"""Retention end to end: old data is moved or deleted, running sessions are untouched, and the lease alternates."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from hybrid_platform.cli.main import main
from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.evidence.reproduction import ReproductionVerdict
from hybrid_platform.maintenance import lease as lease_module
from hybrid_platform.maintenance import retention
from hybrid_platform.maintenance.lease import (
    Lease,
    LeaseHeld,
    acquire_maintenance_lease,
    acquire_session_lease,
    lease_path,
)
from hybrid_platform.maintenance.retention import RetentionEvidence, apply_retention
from hybrid_platform.report.writer import write_reports
from hybrid_platform.reproduce.fresh import reproduce_in_sandbox
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage import archiver
from hybrid_platform.storage.location import default_url
from hybrid_platform.testing.clock import TestClock
from hybrid_platform_tests.support import Artifacts, InProcessRun, run_in_process, synthetic_feed, wait_until

DAY_NS = 86_400 * 10**9


def settings(data: Path, **retention: object) -> SessionSettings:
    stated = {"ticks_days": 0, "wait_seconds": 0.0} | retention
    return load_settings({"data_dir": str(data), "retention": stated}, environ={})


def session(data: Path, *layers: dict, **options: bool) -> InProcessRun:
    """Run a session of 101 ticks and 10 orders."""
    return run_in_process(
        data, {"isolation": "thread"}, synthetic_feed("max", ticks=101), *layers, **({"with_report": False} | options)
    )


def archived_id(found: RetentionEvidence) -> str:
    return found.moved[-1].session_id


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> tuple[InProcessRun, RetentionEvidence]:
    """Return sessions whose ticks were archived; the last one has a report."""
    data = tmp_path_factory.mktemp("archived") / "data"
    session(data)
    artifacts = session(data, with_report=True)
    found = apply_retention(settings(data), SystemClock())
    return artifacts, found


@pytest.mark.scenario("S8")
def test_an_archived_session_is_reproduced_from_its_files(archived):
    artifacts, found = archived
    assert [moved.ticks for moved in found.moved] == [101, 101]
    assert artifacts.count("ticks", archived_id(found)) == 0
    reproduced = reproduce_in_sandbox(DataDir(artifacts.data_dir), default_url(artifacts.data_dir), archived_id(found))
    assert (reproduced.verdict, reproduced.reasons) == (ReproductionVerdict.PASS, ())
    assert reproduced.shown == 101


def test_an_archived_session_is_replayed_from_its_files(archived):
    artifacts, found = archived
    again = session(artifacts.data_dir, {"feed": {"replay": {"session": archived_id(found)}}})
    assert again.code == 0
    assert again.count("ticks", again.session["session_id"]) == 101
    assert again.steps["session"].signals.sha256 == artifacts.steps["session"].signals.sha256


def test_ledger_and_report_survive_retention(archived):
    artifacts, found = archived
    ledger = artifacts.ledger(archived_id(found))
    assert ledger["table", "ticks", "counted"] == ledger["table", "ticks", "archived"] == 101
    assert write_reports(DataDir(artifacts.data_dir), archived_id(found)).is_file()


def test_retention_writes_evidence(archived):
    artifacts, found = archived
    (path,) = (artifacts.data_dir / "evidence" / "checks").glob("*-retention.json")
    assert found.figures["ticks"] == 202
    assert '"ticks": 101' in path.read_text()


def test_reproduction_reports_a_damaged_archive(archived, tmp_path):
    artifacts, found = archived
    shutil.copytree(artifacts.data_dir, tmp_path / "data")
    for file in (tmp_path / "data" / "archive").rglob("*.parquet"):
        file.write_bytes(b"junk")
    result = CliRunner().invoke(main, ["reproduce", archived_id(found), "--data-dir", str(tmp_path / "data")])
    assert result.exit_code == 1
    assert "the strategy's code was not run" in result.output and "guard" not in result.output
    assert f"FAIL: session {archived_id(found)}" in result.output


def test_a_second_retention_finds_nothing_to_do(archived):
    artifacts, _ = archived
    again = apply_retention(settings(artifacts.data_dir, ticks_days=1), SystemClock())
    assert again.moved == ()


def test_a_dry_run_reports_and_changes_nothing(tmp_path):
    data = tmp_path / "data"
    artifacts = session(data)
    old = data / "logs" / "20200101T000000Z-00000000.jsonl"
    old.write_text("{}\n")
    checks = data / "evidence" / "checks"
    checks.mkdir(mode=0o700)
    check, fresh = (
        checks / "20200101T000000Z-00000000-preflight.json",
        checks / "29990101T000000Z-00000000-preflight.json",
    )
    for path in (check, fresh):
        path.write_text("{}")
    for path in (old, check):
        os.utime(path, ns=(1, 1))
    command = ["retain", "--dry-run", "--data-dir", str(data)]
    command += ["--set", "retention.ticks_days=0", "--set", "retention.logs_days=30"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert f"would move {artifacts.session_id}: 101 ticks" in result.output
    assert f"would remove logs/{old.name}: 3 bytes" in result.output
    assert f"would remove evidence/checks/{check.name}: 2 bytes" in result.output
    assert artifacts.count("ticks") == 101
    assert old.exists()
    assert check.exists()
    assert not (data / "archive").exists()
    done = CliRunner().invoke(main, [word for word in command if word != "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "101 ticks in 1 file\n" in done.output and "\n1 session, 101 ticks to " in done.output
    assert artifacts.count("ticks") == 0
    assert not old.exists()
    assert not check.exists()
    assert fresh.exists(), "not old"
    assert (data / "logs" / f"{artifacts.session_id}.jsonl").exists(), "not old"


def test_only_ticks_older_than_the_limit_are_moved(tmp_path):
    data = tmp_path / "data"
    artifacts = session(data)
    now = SystemClock().wall_ns()
    assert apply_retention(settings(data, ticks_days=2), TestClock(wall_ns=now + DAY_NS)).moved == ()
    assert len(apply_retention(settings(data, ticks_days=2), TestClock(wall_ns=now + 3 * DAY_NS)).moved) == 1
    assert artifacts.count("ticks") == 0


def test_one_failing_session_does_not_stop_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "TURN_SECONDS", 0.0)
    data = tmp_path / "data"
    ids = [session(data).last.session_id for _ in range(3)]
    stuck = ids[:2]
    for session_id in stuck:
        # A missing instrument, whose ticks cannot be assigned to a file.
        with closing(sqlite3.connect(data / "bot.db", isolation_level=None)) as connection:
            number = f"(SELECT session_no FROM sessions WHERE session_id = '{session_id}')"
            connection.execute(f"UPDATE tick_rows SET instrument_no = 99 WHERE session_no = {number} AND seq = 7")
    command = ["retain", "--data-dir", str(data), "--set", "retention.ticks_days=0"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1, result.output
    assert [Artifacts(data).count("ticks", each) > 0 for each in ids] == [True, True, False]
    for session_id in stuck:
        assert f"error: {session_id} was not moved: archiving ticks: expected instrument 99" in result.output
    (path,) = (data / "evidence" / "checks").glob("*-retention.json")
    assert [each["session_id"] for each in json.loads(path.read_text())["not_moved"]] == stuck


def test_the_number_of_counts_per_session_is_constant(tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "TURN_SECONDS", 0.0)
    data = tmp_path / "data"
    for _ in range(4):
        session(data)
    counted: list[int] = []
    count = archiver._count_ticks
    monkeypatch.setattr(archiver, "_count_ticks", lambda *given: counted.append(given[1]) or count(*given))
    assert len(apply_retention(settings(data), SystemClock()).moved) == 4
    assert max(counted.count(number) for number in counted) <= 3, "as the next, as the first, and before it is deleted"


@pytest.mark.parametrize("days", [None])
def test_without_settings_nothing_is_done(tmp_path, days):
    result = CliRunner().invoke(main, ["retain", "--data-dir", str(tmp_path / "data")])
    assert (result.exit_code, result.output.split(":")[0]) == (0, "nothing to do")
    with pytest.raises(ConfigError, match="a database of this platform"):
        apply_retention(settings(tmp_path / "data"), SystemClock())


@pytest.mark.scenario("S12")
def test_retention_waits_for_a_running_session_up_to_the_limit(tmp_path):
    data = tmp_path / "data"
    artifacts = session(data)
    path = lease_path(default_url(data))
    messages: list[str] = []
    with Lease(path, "a-session"):
        with pytest.raises(LeaseHeld, match="a-session"):
            apply_retention(settings(data), SystemClock())
        waiting = threading.Thread(
            target=lambda: apply_retention(settings(data, wait_seconds=60), SystemClock(), on_progress=messages.append),
            daemon=True,
        )
        waiting.start()
        time.sleep(0.6)
        assert artifacts.count("ticks") == 101
    waiting.join(60)
    assert not waiting.is_alive()
    assert artifacts.count("ticks") == 0
    assert messages[0].startswith("waiting up to 60 s for session a-session")


@pytest.mark.scenario("S12")
def test_a_session_waits_for_maintenance_but_not_for_a_session(tmp_path, monkeypatch):
    data = tmp_path / "data"
    session(data)
    path = lease_path(default_url(data))
    lease = acquire_maintenance_lease(path, "retention", 0, lambda holder: None, threading.Event())
    waits = "waiting for maintenance of the database to end"

    def end_once_it_waits() -> None:
        wait_until(lambda: any(waits in path.read_text() for path in (data / "logs").glob("*.jsonl")), waits)
        lease.release()

    threading.Thread(target=end_once_it_waits).start()
    second = session(data)
    assert second.code == 0
    assert waits in second.output  # its own output, because both ids may contain the same second
    monkeypatch.setattr(lease_module, "MAINTENANCE_WAIT_SECONDS", 0.3)
    with acquire_maintenance_lease(path, "retention", 0, lambda holder: None, threading.Event()):
        refused = session(data)
    assert refused.code == 12
    assert "maintenance: retention" in refused.steps["session"].reasons[0]
    started = time.monotonic()
    with Lease(path, "another"), pytest.raises(LeaseHeld, match="another"):
        acquire_session_lease(path, "mine", lambda holder: None)
    assert time.monotonic() - started < 0.25
