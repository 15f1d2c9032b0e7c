"""Online backup: one verified snapshot in a single file, taken while a session writes."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.storage.backup import back_up, verify_backup
from hybrid_platform.storage.connection import connect
from hybrid_platform_tests.storage.samples import (
    create_migrated_database,
    read_table,
)
from hybrid_platform_tests.support import PROCESS_TIMEOUT_S, InProcessRun, run_in_process, synthetic_feed, wait_until


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[InProcessRun, Path, list[int], int]:
    """Return a session backed up in small steps while it ran, the backup, and the ticks committed before it."""
    folder = tmp_path_factory.mktemp("running")
    data, target = folder / "data", folder / "copy.db"
    steps: list[int] = []
    committed = 0
    with ThreadPoolExecutor() as pool:
        session = pool.submit(
            run_in_process, data, {"seconds": 3, "isolation": "thread", "storage": {"flush_interval_ms": 20}},
            synthetic_feed(2_000), with_report=False,
        )  # fmt: skip

        def ticks() -> int:
            try:
                return len(read_table(data / "bot.db", "tick_rows"))
            except sqlite3.OperationalError:
                return 0

        wait_until(lambda: ticks() > 500, "ticks")
        committed = ticks()
        pause = threading.Event()

        def step(left: int, of: int) -> None:
            steps.append(ticks())
            pause.wait(0.02)

        report = back_up(data / "bot.db", target, step_pages=1, on_step=step)
        assert report.running == 1
        here = session.result(PROCESS_TIMEOUT_S)
    return here, target, steps, committed


@pytest.mark.scenario("I6", "S12")
def test_a_backup_is_one_snapshot_while_a_session_writes(ran):
    here, target, steps, committed = ran
    assert here.code == 0
    assert here.steps["session"].ledger.balances
    assert here.steps["session"].counters["persist_errors"] == 0
    assert len(steps) > 10
    assert steps[-1] > steps[0], "the writer committed between the steps"
    seqs = [row[1] for row in read_table(target, "tick_rows")]
    assert seqs == list(range(1, len(seqs) + 1))
    assert committed <= len(seqs) <= steps[0], "all ticks committed before the copy, and none from during it"


def test_a_backup_is_a_single_private_file(ran):
    _, target, _, _ = ran
    assert sorted(path.name for path in target.parent.iterdir()) == ["copy.db", "data"]
    assert target.stat().st_mode & 0o777 == 0o600
    assert target.stat().st_nlink == 1
    with closing(sqlite3.connect(target)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"


@pytest.fixture
def database(path: Path) -> Path:
    return create_migrated_database("0001", path)


def test_an_existing_file_is_replaced_only_with_overwrite(database: Path, tmp_path: Path):
    target = tmp_path / "copy.db"
    target.write_text("another file")
    with pytest.raises(ConfigError, match="expected a file that is not there, or --overwrite"):
        back_up(database, target)
    assert target.read_text() == "another file"
    assert back_up(database, target, overwrite=True) == verify_backup(target)
    with pytest.raises(ConfigError):
        back_up(database, database, overwrite=True)


class Stop(BaseException):
    """Stands for a kill of the process."""


def test_a_failed_backup_leaves_no_file(database: Path, tmp_path: Path):
    def killed(left: int, of: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        back_up(database, tmp_path / "copy.db", on_step=killed)
    assert not (tmp_path / "copy.db").exists()
    back_up(database, tmp_path / "copy.db")


def test_a_database_in_use_is_not_accepted_as_a_backup(database: Path):
    last = connect(database, "write", 5_000)
    last.execute("UPDATE sessions SET exit_reason = 'IN_THE_LOG'")
    with pytest.raises(ConfigError, match="a database in use"):
        verify_backup(database)
    last.close()
