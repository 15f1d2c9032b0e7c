"""A database damaged during or between sessions: the platform's own counts notice every lost or changed row (L4).

SQLite opens a database without its write-ahead log, or with a damaged one, without an error.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.evidence.reproduction import ReproductionVerdict
from hybrid_platform.maintenance.restore import restore
from hybrid_platform.reproduce.fresh import reproduce_in_sandbox
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.storage.backup import back_up
from hybrid_platform.storage.location import sqlite_url
from hybrid_platform_tests.faults import damage
from hybrid_platform_tests.faults.damage import BUSY, Damage, run_with_damage
from hybrid_platform_tests.support import (
    Artifacts,
    InProcessRun,
    make_csv_rows,
    merge_settings,
    replay_feed,
    run_cli,
    run_in_process,
    start_cli,
    synthetic_feed,
    write_csv,
)

pytestmark = pytest.mark.scenario("L4")

SHORT = merge_settings(synthetic_feed(200), {"seconds": 0.1, "isolation": "thread"})


def next_start(data_dir: Path) -> InProcessRun:
    """Run the next session on the damaged data directory."""
    return run_in_process(data_dir, SHORT, with_report=False)


def reproduced(artifacts: Artifacts, session_id: str) -> ReproductionVerdict | None:
    """Return the verdict of a session's reproduction, or None if the database cannot be read."""
    try:
        return reproduce_in_sandbox(DataDir(artifacts.data_dir), sqlite_url(artifacts.database), session_id).verdict
    except Exception as error:
        assert type(error).__name__ == "ReproductionError"
        return None


@pytest.mark.parametrize(
    ("damage_files", "names"),
    [
        (damage.delete, "bot.db and bot.db-wal and bot.db-shm"),
        (damage.delete_log, "bot.db-wal"),
        (damage.replace_by_copy, "bot.db"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_removed_files_end_the_session_at_the_next_commit(tmp_path: Path, damage_files: Damage, names: str):
    ended = run_with_damage(tmp_path / "data", damage_files)
    session, postflight = ended.steps["session"], ended.steps["postflight"]
    assert (session.exit_code, session.state, session.exit_reason) == (1, "FAILED", "DatabaseError")
    assert session.failure.endswith(f"got another or no {names} [REPLACED]")
    assert not session.ledger.balances, "written and counted rows differ"
    assert (postflight.verdict, postflight.exit_code) == ("FAIL", 1)


def test_next_session_reports_a_deleted_database(tmp_path: Path):
    before = run_with_damage(tmp_path / "data", damage.delete)
    after = next_start(tmp_path / "data")
    (reason,) = after.steps["session"].reasons
    assert before.last.session_id in reason and "expected its row there, got none" in reason
    assert after.code == 1
    assert next_start(tmp_path / "data").code == 0, "a loss is reported once"


def test_write_ahead_log_heals_a_damaged_header(tmp_path: Path):
    ended = run_with_damage(tmp_path / "data", damage.damage_header)
    assert ended.last.verdict == "PASS"
    assert ended.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert ended.count("ticks") == ended.steps["session"].counters["tick_count"]


def test_damaged_pages_fail_the_ledger(tmp_path: Path):
    ended = run_with_damage(tmp_path / "data", damage.damage_pages)
    session = ended.steps["session"]
    assert (session.exit_code, session.state) == (1, "FAILED")
    assert any("malformed" in reason for reason in (*session.reasons, *ended.steps["postflight"].reasons))
    assert not session.ledger.balances
    again = next_start(tmp_path / "data")
    assert list(again.steps) == ["preflight"], "no session runs on it"
    assert "healthcheck: db: expected to be readable" in again.steps["preflight"].reasons[0]


def test_flipped_bits_in_the_log_are_noticed(tmp_path: Path):
    """SQLite checks the checksums of the log only after a crash, so a changed frame becomes the row."""
    ended = run_with_damage(tmp_path / "data", damage.flip_bits_of_log, rows=8_000)
    verdict = reproduced(ended, ended.last.session_id)
    assert verdict in {ReproductionVerdict.FAIL, None}


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a killed session whose rows are only in its write-ahead log."""
    folder = tmp_path_factory.mktemp("crashed")
    with start_cli(
        folder, "shadow-run", settings=merge_settings(BUSY, {"heartbeat": {"interval_seconds": 0.1}})
    ) as running:
        running.wait_for("HEARTBEAT (G4)", times=4)
        time.sleep(0.2)
        running.process.kill()
        running.end()
    return folder / "data"


@pytest.mark.parametrize(
    ("damage_files", "words"),
    [
        (damage.leave_unchanged, None),
        (damage.delete_log, "rows that it had reported as committed, got 0"),
        (damage.flip_a_bit_of_log, "rows that it had reported as committed, got "),
        (damage.delete, "expected its row there, got none"),
        (damage.replace_by_new, "expected its row there, got none"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_rows_lost_after_a_crash_fail_the_next_session(
    crashed: Path, tmp_path: Path, damage_files: Damage, words: str | None
):
    """The reason names the session whose committed rows are missing."""
    shutil.copytree(crashed, tmp_path / "data")
    lost = Artifacts(tmp_path / "data").session_id
    damage_files(tmp_path / "data" / "bot.db")
    after = next_start(tmp_path / "data")
    session = after.steps["session"]
    if words is None:
        assert (session.verdict, session.crashed, after.code) == ("PASS", (lost,), 0)
        return
    assert session.verdict == "FAIL"
    (reason,) = session.reasons
    assert reason.startswith(f"lost before this session: session {lost}") and words in reason
    assert after.code == 1
    assert after.session["state"] == "COMPLETE", "the session itself is complete"
    assert after.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> InProcessRun:
    """A session that completed."""
    folder = tmp_path_factory.mktemp("ended")
    path = write_csv(folder / "trades.csv", make_csv_rows(6_000))
    return run_in_process(folder / "data", replay_feed(path), {"isolation": "thread"}, with_report=False)


@pytest.mark.parametrize(
    "damage_files", [damage.delete, damage.replace_by_new], ids=lambda damage_files: damage_files.__name__
)
def test_exchanged_database_fails_the_next_session(ended: InProcessRun, tmp_path: Path, damage_files: Damage):
    """The reason names the session whose row is missing."""
    shutil.copytree(ended.data_dir, tmp_path / "data")
    damage_files(tmp_path / "data" / "bot.db")
    after = next_start(tmp_path / "data")
    (reason,) = after.steps["session"].reasons
    assert f"session {ended.last.session_id}, which used this database: expected its row there, got none" in reason
    assert after.code == 1


def put_back(data_dir: Path, backup: Path, **more: str) -> None:
    """Restore a backup with the command's function."""
    restore(load_settings({"data_dir": str(data_dir), **more}, environ={}), backup, SystemClock())


def deleted(table: str, where: str) -> Damage:
    def damage_files(database: Path) -> None:
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute(f"DELETE FROM {table} WHERE {where}")

    return damage_files


def test_restore_without_the_last_session_is_reported(ended: InProcessRun, tmp_path: Path):
    """A deliberate restore is logged and passes; the same file copied by hand fails the next session."""
    shutil.copytree(ended.data_dir, tmp_path / "data")
    back_up(tmp_path / "data" / "bot.db", tmp_path / "backup.db")
    gone = next_start(tmp_path / "data").last.session_id
    put_back(tmp_path / "data", tmp_path / "backup.db")
    after = next_start(tmp_path / "data")
    session = after.steps["session"]
    assert (session.verdict, session.reasons, after.code) == ("PASS", (), 0)
    (reported,) = session.left_out
    assert reported.startswith(
        f"session {gone}, which used this database: expected its row there, got none: the backup "
    )
    assert f"{tmp_path / 'backup.db'} (SHA-256 " in reported and "which was restored at 20" in reported
    said = "rows that were reported as committed were left out by a restore"
    (line,) = [line for line in after.read_log(session.session_id) if line["message"] == said]
    assert (line["level"], line["what"]) == ("warning", reported)
    # The same file copied by hand: no record explains the missing session.
    shutil.copy(tmp_path / "backup.db", tmp_path / "data" / "bot.db")
    (reason,) = next_start(tmp_path / "data").steps["session"].reasons
    assert session.session_id in reason and "expected its row there, got none" in reason


@pytest.mark.parametrize("named", [False, True], ids=["by default", "by its URL"])
@pytest.mark.parametrize(
    ("damage_files", "words"),
    [
        (damage.replace_by_new, "in the backup that was restored: expected its row there, got none"),
        (deleted("tick_rows", "seq > 5990"), "in the backup that was restored: expected the "),
    ],
    ids=["all", "some rows"],
)
def test_restore_does_not_excuse_later_losses(
    ended: InProcessRun, tmp_path: Path, damage_files: Damage, words: str, named: bool
):
    shutil.copytree(ended.data_dir, tmp_path / "data")
    database = tmp_path / "data" / "bot.db"
    back_up(database, tmp_path / "backup.db")
    next_start(tmp_path / "data")
    put_back(tmp_path / "data", tmp_path / "backup.db", **({"database_url": sqlite_url(database)} if named else {}))
    damage_files(database)
    session = next_start(tmp_path / "data").steps["session"]
    (reason,) = session.reasons
    assert reason.startswith(f"lost before this session: session {ended.last.session_id}, {words}")
    assert (session.verdict, len(session.left_out)) == ("FAIL", 1)


@pytest.mark.parametrize(
    "damage_files", [damage.leave_unchanged, deleted("tick_rows", "seq > 10")], ids=["whole", "fewer"]
)
def test_rows_after_a_restored_backup_are_reported_only(crashed: Path, tmp_path: Path, damage_files: Damage):
    """Rows that the backup could not hold are reported; rows it held and lost are a failure."""
    shutil.copytree(crashed, tmp_path / "data")
    artifacts = Artifacts(tmp_path / "data")
    lost, log = artifacts.session_id, tmp_path / "data" / "logs" / f"{artifacts.session_id}.jsonl"
    back_up(artifacts.database, tmp_path / "backup.db")
    # The session continued after the backup.
    beat = json.dumps({"message": "HEARTBEAT (G4)", "persist_count": 10**6}, separators=(",", ":"))
    log.write_text(f"{log.read_text()}{beat}\n")
    put_back(tmp_path / "data", tmp_path / "backup.db")
    damage_files(artifacts.database)
    session = next_start(tmp_path / "data").steps["session"]
    if damage_files is damage.leave_unchanged:
        (reported,) = session.left_out
        assert reported.startswith(f"session {lost}, which crashed: expected the {10**6} rows")
        assert session.verdict == "PASS"
    else:
        assert session.verdict == "FAIL"
        assert all(lost in reason for reason in session.reasons) and len(session.reasons) == 2


def test_damaged_header_stops_the_next_preflight(ended: InProcessRun, tmp_path: Path):
    shutil.copytree(ended.data_dir, tmp_path / "data")
    damage.damage_header(tmp_path / "data" / "bot.db")
    after = next_start(tmp_path / "data")
    assert list(after.steps) == ["preflight"]
    assert "file is not a database" in after.steps["preflight"].reasons[0]
    assert after.code == 1


def test_reproduce_notices_flipped_bits_in_pages(ended: InProcessRun, tmp_path: Path):
    shutil.copytree(ended.data_dir, tmp_path / "data")
    artifacts, session_id = Artifacts(tmp_path / "data"), ended.last.session_id
    assert reproduced(artifacts, session_id) is ReproductionVerdict.PASS
    damage.flip_bits_of_pages(artifacts.database)
    again = run_cli(tmp_path, "reproduce", session_id, "--data-dir", "data")
    assert again.code == 1, again.text
    assert "Traceback" not in again.text
