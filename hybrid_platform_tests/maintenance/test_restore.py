"""Restore of a backup between sessions: complete, refused while the database is in use, and recorded."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.errors import ExitCode, PlatformError, StorageError
from hybrid_platform.maintenance.lease import Lease, LeaseHeld, lease_path
from hybrid_platform.maintenance.restore import restore
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.storage import backup
from hybrid_platform.storage.archiver import archive_ticks, find_archivable_sessions
from hybrid_platform.storage.backup import back_up, verify_backup
from hybrid_platform.storage.connection import connect
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import default_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform_tests.storage.samples import (
    create_migrated_database,
    create_release_database,
    read_table,
    sql_damage,
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return create_migrated_database("0001", tmp_path / "data" / "bot.db")


def settings(path: Path):
    return load_settings({"data_dir": str(path.parent)}, environ={})


def damage_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-8192:-8000] = os.urandom(192)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:20_000]), "integrity_check|malformed"),
        (damage_page, "integrity_check|malformed"),
        (lambda path: path.write_bytes(b"junk" * 5_000), "not a database"),
        (lambda path: path.unlink(), "a file that can be read"),
        (sql_damage("DELETE FROM tick_rows WHERE seq = 7"), "ticks: expected 40 as"),
        (sql_damage("DELETE FROM trade_rows WHERE n = 3"), "trades: expected 10 as in its ledger, got 9"),
        (sql_damage("UPDATE alembic_version SET version_num = '9999'"), "a schema that this release knows"),
        (sql_damage("DROP TABLE sessions"), "a database of this platform"),
    ],
)  # fmt: skip
def test_a_backup_that_contradicts_its_ledger_is_not_restored(database: Path, tmp_path: Path, damage, message):
    target = tmp_path / "copy.db"
    back_up(database, target)
    damage(target)
    before = read_table(database, "ledger")
    with pytest.raises(PlatformError, match=message):
        restore(settings(database), target, SystemClock())
    assert read_table(database, "ledger") == before
    assert not list(database.parent.glob("*.replaced*"))


@pytest.mark.scenario("S12", "L4")
def test_a_copy_damaged_on_the_way_is_not_restored(database: Path, tmp_path: Path, monkeypatch):
    """The backup is intact; only its copy next to the database is damaged."""
    target = tmp_path / "copy.db"
    back_up(database, target)
    copy = backup.shutil.copyfileobj

    def damaging(source, file, length: int) -> None:
        copy(source, file, length)
        file.seek(-8192, os.SEEK_END)
        file.write(os.urandom(192))

    monkeypatch.setattr(backup.shutil, "copyfileobj", damaging)
    before = read_table(database, "ledger")
    with pytest.raises(StorageError, match=r"integrity_check|malformed"):
        restore(settings(database), target, SystemClock())
    assert read_table(database, "ledger") == before
    assert [path.name for path in database.parent.iterdir() if "restor" in path.name or "replaced" in path.name] == []
    assert not list((database.parent / "evidence").rglob("*-restore.json")), "a failed restore leaves no record"


@pytest.mark.scenario("S12")
def test_a_restore_replaces_and_keeps_the_old_database(database: Path, tmp_path: Path):
    target = tmp_path / "copy.db"
    back_up(database, target)
    sql_damage("DELETE FROM tick_rows")(database)
    # The change is only in the log, as after a killed session.
    last = connect(database, "write", 5_000)
    last.execute("UPDATE sessions SET exit_reason = 'IN_THE_LOG'")
    found = restore(settings(database), target, SystemClock())
    last.close()
    assert len(read_table(database, "tick_rows")) == 80
    assert read_table(found.kept, "tick_rows") == []
    assert {row[6] for row in read_table(found.kept, "sessions")} == {"IN_THE_LOG"}
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
    assert {row[6] for row in read_table(database, "sessions")} == {"IN_THE_LOG"}
    assert not list(database.parent.glob("*.replaced*"))


def test_a_restore_creates_a_missing_database(database: Path, tmp_path: Path):
    target = tmp_path / "copy.db"
    back_up(database, target)
    elsewhere = tmp_path / "new" / "bot.db"
    found = restore(settings(elsewhere), target, SystemClock())
    assert (found.kept, found.database) == (None, elsewhere)
    assert len(read_table(elsewhere, "tick_rows")) == 80


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


def test_a_backup_of_an_older_release_is_restored_and_migrated(tmp_path: Path):
    path = tmp_path / "data" / "bot.db"
    report = back_up(create_release_database("0001", path), tmp_path / "old.db")
    assert (report.revision, report.rows["ticks"]) == ("0001", 80)
    restore(settings(path), tmp_path / "old.db", SystemClock())
    assert migrate(open_engine(default_url(path.parent), role="write")) == ["0002"]
    assert len(read_table(path, "ticks")) == 80


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
    sql_damage("UPDATE tick_archives SET count = count - 1 WHERE n = 1")(target)
    with pytest.raises(StorageError, match="as written in batches"):
        verify_backup(target)
