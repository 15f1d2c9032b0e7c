"""A copy taken while a session writes, verified; put back between sessions, with nothing lost on the way."""

from __future__ import annotations

import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.errors import ConfigError, ExitCode, PlatformError, StorageError
from hybrid_platform.maintenance.lease import Lease, LeaseHeld, lease_path
from hybrid_platform.maintenance.restore import restore
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.storage import backup as module
from hybrid_platform.storage.archiver import archive_ticks, find_archivable_sessions
from hybrid_platform.storage.backup import back_up, verify_backup
from hybrid_platform.storage.connection import connect
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import default_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform_tests.storage.samples import a_database_of_release
from hybrid_platform_tests.support import PATIENCE, Here, run_here, synthetic, until


def values(path: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Here, Path, list[int], int]:
    """A session during which the database was backed up in small steps; and how many ticks were committed before."""
    folder = tmp_path_factory.mktemp("running")
    data, target = folder / "data", folder / "copy.db"
    steps: list[int] = []
    committed = 0
    with ThreadPoolExecutor() as pool, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STEP_PAGES", 1)
        session = pool.submit(
            run_here, data, {"seconds": 3, "isolation": "thread", "storage": {"flush_interval_ms": 20}},
            synthetic(2_000), with_report=False,
        )  # fmt: skip

        def ticks() -> int:
            try:
                return len(values(data / "bot.db", "tick_rows"))
            except sqlite3.OperationalError:
                return 0

        until(lambda: ticks() > 500, "ticks")
        committed = ticks()
        pause = threading.Event()

        def step(left: int, of: int) -> None:
            steps.append(ticks())
            pause.wait(0.02)

        report = back_up(data / "bot.db", target, on_step=step)
        assert report.running == 1
        here = session.result(PATIENCE)
    return here, target, steps, committed


@pytest.mark.scenario("I6", "S12")
def test_a_backup_is_one_snapshot_while_a_session_writes(ran):
    here, target, steps, committed = ran
    assert here.code == 0
    assert here.steps["session"].ledger.balances
    assert here.steps["session"].counters["persist_errors"] == 0
    assert len(steps) > 10
    assert steps[-1] > steps[0], "the writer committed between the steps"
    seqs = [row[1] for row in values(target, "tick_rows")]
    assert seqs == list(range(1, len(seqs) + 1))
    assert committed <= len(seqs) <= steps[0], "what was committed before the copy, and nothing from during it"


def test_a_backup_is_a_single_private_file(ran):
    _, target, _, _ = ran
    assert sorted(path.name for path in target.parent.iterdir()) == ["copy.db", "data"]
    assert target.stat().st_mode & 0o777 == 0o600
    assert target.stat().st_nlink == 1
    with closing(sqlite3.connect(target)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"


@pytest.fixture
def database(path: Path) -> Path:
    a_database_of_release("0001", path)
    engine = open_engine(default_url(path.parent), role="write")
    migrate(engine)
    engine.dispose()
    return path


def settings(path: Path):
    return load_settings({"data_dir": str(path.parent)}, environ={})


def test_an_existing_file_is_replaced_only_with_overwrite(database: Path, tmp_path: Path):
    target = tmp_path / "copy.db"
    target.write_text("somebody's")
    with pytest.raises(ConfigError, match="expected a file that is not there, or --overwrite"):
        back_up(database, target)
    assert target.read_text() == "somebody's"
    assert back_up(database, target, overwrite=True) == verify_backup(target)
    with pytest.raises(ConfigError):
        back_up(database, database, overwrite=True)


class Stop(BaseException):
    """The process was killed here."""


def test_a_failed_backup_leaves_no_file(database: Path, tmp_path: Path):
    def killed(left: int, of: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        back_up(database, tmp_path / "copy.db", on_step=killed)
    assert not (tmp_path / "copy.db").exists()
    back_up(database, tmp_path / "copy.db")


def damage_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-8192:-8000] = os.urandom(192)
    path.write_bytes(content)


def execute(statement: str):
    def harm(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(statement)

    return harm


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:20_000]), "integrity_check|malformed"),
        (damage_page, "integrity_check|malformed"),
        (lambda path: path.write_bytes(b"junk" * 5_000), "not a database"),
        (lambda path: path.unlink(), "a file that can be read"),
        (execute("DELETE FROM tick_rows WHERE seq = 7"), "ticks: expected 40 as"),
        (execute("DELETE FROM trade_rows WHERE n = 3"), "trades: expected 10 as in its ledger, got 9"),
        (execute("UPDATE alembic_version SET version_num = '9999'"), "a schema that this release knows"),
        (execute("DROP TABLE sessions"), "a database of this platform"),
    ],
)  # fmt: skip
def test_a_backup_that_contradicts_its_ledger_is_not_restored(database: Path, tmp_path: Path, harm, said):
    target = tmp_path / "copy.db"
    back_up(database, target)
    harm(target)
    before = values(database, "ledger")
    with pytest.raises(PlatformError, match=said):
        restore(settings(database), target, SystemClock())
    assert values(database, "ledger") == before
    assert not list(database.parent.glob("*.replaced*"))


@pytest.mark.scenario("S12", "L4")
def test_a_copy_damaged_on_the_way_is_not_restored(database: Path, tmp_path: Path, monkeypatch):
    """The backup itself is whole: it is the copy beside the database that is damaged."""
    target = tmp_path / "copy.db"
    back_up(database, target)
    copy = module.shutil.copyfileobj

    def damaging(source, file, length: int) -> None:
        copy(source, file, length)
        file.seek(-8192, os.SEEK_END)
        file.write(os.urandom(192))

    monkeypatch.setattr(module.shutil, "copyfileobj", damaging)
    before = values(database, "ledger")
    with pytest.raises(StorageError, match=r"integrity_check|malformed"):
        restore(settings(database), target, SystemClock())
    assert values(database, "ledger") == before
    assert [path.name for path in database.parent.iterdir() if "restor" in path.name or "replaced" in path.name] == []
    assert not list((database.parent / "evidence").rglob("*-restore.json")), "no record of what was not done"


@pytest.mark.scenario("S12")
def test_a_restore_replaces_and_keeps_the_old_database(database: Path, tmp_path: Path):
    target = tmp_path / "copy.db"
    back_up(database, target)
    execute("DELETE FROM tick_rows")(database)
    # In the log only, as a killed session leaves it.
    last = connect(database, "write", 5_000)
    last.execute("UPDATE sessions SET exit_reason = 'IN_THE_LOG'")
    found = restore(settings(database), target, SystemClock())
    last.close()
    assert len(values(database, "tick_rows")) == 80
    assert values(found.kept, "tick_rows") == []
    assert {row[6] for row in values(found.kept, "sessions")} == {"IN_THE_LOG"}
    assert not database.with_name("bot.db-wal").exists()
    assert found.missing == ()
    assert migrate(open_engine(default_url(database.parent), role="write")) == []


@pytest.mark.scenario("S12")
def test_a_restore_is_refused_while_a_reader_blocks_the_checkpoint(database: Path, tmp_path: Path):
    target = tmp_path / "copy.db"
    back_up(database, target)
    with closing(connect(database, "write", 5_000)) as reader, closing(connect(database, "write", 5_000)) as last:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sessions").fetchone()
        last.execute("UPDATE sessions SET exit_reason = 'IN_THE_LOG'")
        with pytest.raises(StorageError, match="expected no other process to use it during a restore"):
            restore(settings(database), target, SystemClock())
        assert database.with_name("bot.db-wal").stat().st_size
    assert {row[6] for row in values(database, "sessions")} == {"IN_THE_LOG"}
    assert not list(database.parent.glob("*.replaced*"))


def test_a_restore_creates_a_missing_database(database: Path, tmp_path: Path):
    target = tmp_path / "copy.db"
    back_up(database, target)
    elsewhere = tmp_path / "new" / "bot.db"
    found = restore(settings(elsewhere), target, SystemClock())
    assert (found.kept, found.database) == (None, elsewhere)
    assert len(values(elsewhere, "tick_rows")) == 80


@pytest.mark.scenario("S12")
def test_a_restore_is_refused_while_a_session_holds_the_lease(database: Path, tmp_path: Path):
    target = tmp_path / "copy.db"
    back_up(database, target)
    with (
        Lease(lease_path(default_url(database.parent)), "a-session"),
        pytest.raises(LeaseHeld, match="a-session") as caught,
    ):
        restore(settings(database), target, SystemClock())
    assert caught.value.exit_code is ExitCode.CONFIG


def test_a_database_in_use_is_not_accepted_as_a_backup(database: Path):
    last = connect(database, "write", 5_000)
    last.execute("UPDATE sessions SET exit_reason = 'IN_THE_LOG'")
    with pytest.raises(ConfigError, match="a database in use"):
        verify_backup(database)
    last.close()


def test_a_backup_reports_archived_ticks_and_missing_files(database: Path, tmp_path: Path):
    engine = open_engine(default_url(database.parent), role="write")
    data_dir = DataDir(database.parent)
    for session in find_archivable_sessions(engine, 2**62):
        archive_ticks(engine, session, data_dir, "archive/ticks", folder_as_stored="archive/ticks", at_ns=1)
    target = tmp_path / "copy.db"
    report = back_up(database, target)
    assert (report.rows["ticks"], report.archived_ticks) == (0, 80)
    gone = sorted((database.parent / "archive").rglob("*.parquet"))[0]
    gone.unlink()
    assert restore(settings(database), target, SystemClock()).missing == (gone,)
    execute("UPDATE tick_archives SET count = count - 1 WHERE n = 1")(target)
    with pytest.raises(StorageError, match="as written in batches"):
        verify_backup(target)


def test_a_backup_of_an_older_release_is_restored_and_migrated(path, tmp_path: Path):
    report = back_up(a_database_of_release("0001", path), tmp_path / "old.db")
    assert (report.revision, report.rows["ticks"]) == ("0001", 80)
    restore(settings(path), tmp_path / "old.db", SystemClock())
    assert migrate(open_engine(default_url(path.parent), role="write")) == ["0002"]
    assert len(values(path, "ticks")) == 80
