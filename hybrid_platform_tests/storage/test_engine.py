"""Which database a URL means, and what may stand at its path."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from hybrid_platform.domain.errors import ConfigError, ExitCode
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.engine import open_engine, transaction
from hybrid_platform.storage.errors import Cause, DatabaseError
from hybrid_platform.storage.location import default_url, redact_url, resolve_database_url, sqlite_path, sqlite_url


def connected(url: str) -> None:
    with open_engine(url, role="write").connect():
        pass


def test_the_default_database_lies_in_the_data_directory(tmp_path):
    assert sqlite_path(default_url(tmp_path / "data")) == tmp_path / "data" / "bot.db"
    assert resolve_database_url(SessionSettings(data_dir=str(tmp_path))) == default_url(tmp_path)
    assert (
        resolve_database_url(SessionSettings(data_dir=str(tmp_path), database_url="sqlite:///x.db")) == "sqlite:///x.db"
    )


@pytest.mark.parametrize("name", ["a b", "what?", "50%", "%2e%2e", "hash#", "grün", "ümlaut\udcff"])
def test_any_file_name_survives_a_url(tmp_path, name):
    path = tmp_path / name / "bot.db"
    assert sqlite_path(sqlite_url(path)) == path
    connected(sqlite_url(path))
    assert path.is_file()


def test_new_files_and_directories_are_private(tmp_path):
    previous = os.umask(0)
    try:
        with open_engine(default_url(tmp_path / "new" / "deep"), role="write").connect() as connection:
            connection.exec_driver_sql("CREATE TABLE something (x)")
            files = sorted((tmp_path / "new" / "deep").iterdir())
            assert [file.name for file in files] == ["bot.db", "bot.db-shm", "bot.db-wal"]
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    finally:
        os.umask(previous)
    for directory in (tmp_path / "new", tmp_path / "new" / "deep"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


BAD_PATHS = [
    "",
    "   ",
    ":memory:",
    ":memory:?cache=shared",
    "file:x?mode=rwc&vfs=unix-none",
    "file:x",
    "FILE:/tmp/x",
    "../../bot.db",
    "a/../../bot.db",
    "nul\0.db",
    "new\nline.db",
    "\x1b[31mred.db",
    "n" * 4096,
    "d/" * 3000 + "bot.db",
    "\ud800/bot.db",
]


@pytest.mark.parametrize("path", BAD_PATHS, ids=range(len(BAD_PATHS)))
def test_an_invalid_path_is_refused_before_creating_anything(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    escaped = "".join(f"%{ord(letter):02x}" for letter in path) if path.isascii() else path
    for url in (f"sqlite:///{path}", f"sqlite:///{escaped}"):
        with pytest.raises(ConfigError) as caught:
            connected(url)
        assert caught.value.exit_code is ExitCode.CONFIG
        assert caught.value.faults[0].path == "database_url"
        assert "\x1b" not in str(caught.value)
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def _file(path: Path) -> None:
    path.write_bytes(b"")


def _link(path: Path) -> None:
    (path.parent / "elsewhere").write_bytes(b"")
    path.symlink_to(path.parent / "elsewhere")


def _hard_link(path: Path) -> None:
    (path.parent / "elsewhere").write_bytes(b"")
    os.link(path.parent / "elsewhere", path)


THINGS = {
    "link": _link,
    "dangling link": lambda path: path.symlink_to(path.parent / "nothing"),
    "link in a circle": lambda path: path.symlink_to(path),
    "hard link": _hard_link,
    "directory": lambda path: path.mkdir(),
    "fifo": lambda path: os.mkfifo(path),
    "link to a device": lambda path: path.symlink_to("/dev/full"),
}


@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("role", ["write", "read"])
def test_each_of_the_three_files_has_to_be_a_regular_file(tmp_path, thing, end, role):
    THINGS[thing](tmp_path / f"bot.db{end}")
    before = sorted(file.name for file in tmp_path.iterdir())
    with pytest.raises(ConfigError, match=r"database_url: expected a (plain file|file with one name)"):
        open_engine(default_url(tmp_path), role=role)
    assert sorted(file.name for file in tmp_path.iterdir()) == before


def test_a_device_is_refused():
    with pytest.raises(ConfigError, match="plain file"):
        open_engine("sqlite:////dev/full", role="write")


def test_a_linked_directory_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="a directory, not a link"):
        open_engine(default_url(tmp_path / "data"), role="write")
    assert list((tmp_path / "real").iterdir()) == []


def test_a_link_created_after_the_engine_is_refused(tmp_path):
    engine = open_engine(default_url(tmp_path), role="write")
    _link(tmp_path / "bot.db")
    with pytest.raises(ConfigError, match="not a link"), engine.connect():
        pass


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///data/bot.db?mode=rwc",
        "sqlite:///data/bot.db?vfs=unix-none",
        "sqlite://host/bot.db",
        "sqlite://user:hunter2@host/bot.db",
        "sqlite://",
        "sqlite",
        "",
        "not a url hunter2",
        "mysql://user:hunter2@host/db",
        "postgresql+psycopg_not_there://user:hunter2@host/db",
        "postgresql+psycopg2://user:hunter2@host:port/db",
    ],
)
def test_an_invalid_url_is_refused_without_its_password(url):
    with pytest.raises(ConfigError) as caught:
        open_engine(url, role="write")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "mysql"])
def test_a_database_server_is_refused(scheme):
    """A session writes SQLite; the password of another URL is not repeated."""
    with pytest.raises(ConfigError, match=rf"a SQLite URL, sqlite:///path, got {re.escape(scheme)}://…") as caught:
        open_engine(f"{scheme}://user:hunter2@host/db", role="write")
    assert "hunter2" not in str(caught.value)
    assert caught.value.exit_code is ExitCode.CONFIG


def test_a_redacted_url_has_no_secrets():
    shown = redact_url("postgresql+psycopg://user:hunter2@host:5432/db?password=hunter2&sslkey=hunter2")
    assert shown == "postgresql+psycopg://host:5432/db"
    assert redact_url("sqlite:////data/bot.db") == "sqlite:////data/bot.db"
    assert redact_url("hunter2") == "…"


def test_a_reader_does_not_create_the_file(tmp_path):
    with pytest.raises(DatabaseError) as caught, open_engine(default_url(tmp_path), role="read").connect():
        pass
    assert caught.value.cause is Cause.MISSING
    assert caught.value.exit_code is ExitCode.CONFIG
    assert list(tmp_path.iterdir()) == []


def test_a_reader_cannot_write(reading):
    with pytest.raises(DatabaseError) as caught, transaction(reading, "writing all the same") as connection:
        connection.exec_driver_sql("DELETE FROM sessions")
    assert caught.value.cause is Cause.READ_ONLY


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"\x1f\x8b" + bytes(5000)])
@pytest.mark.parametrize("role", ["write", "read"])
def test_a_file_of_another_format_is_named_and_unchanged(tmp_path, content, role):
    (tmp_path / "bot.db").write_bytes(content)
    with pytest.raises(DatabaseError) as caught, open_engine(default_url(tmp_path), role=role).connect():
        pass
    assert caught.value.cause is Cause.NOT_A_DATABASE
    assert caught.value.exit_code is ExitCode.CONFIG
    assert str(tmp_path / "bot.db") in str(caught.value)
    assert (tmp_path / "bot.db").read_bytes() == content


def test_a_failed_transaction_is_rolled_back(writing, reading):
    with pytest.raises(DatabaseError) as caught, transaction(writing, "breaking a rule") as connection:
        connection.exec_driver_sql("INSERT INTO ledger VALUES ('a', 'b', 'c', 'd', 1)")
        connection.exec_driver_sql("INSERT INTO ledger VALUES ('a', 'b', 'c', 'd', 2)")
    assert caught.value.cause is Cause.CONFLICT
    with transaction(reading, "looking") as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM ledger")) == 0


def test_threads_may_share_an_engine(reading):
    seen: list[int] = []

    def look() -> None:
        for _ in range(20):
            with transaction(reading, "looking") as connection:
                seen.append(connection.scalar(sa.text("SELECT count(*) FROM sessions")) or 0)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 80


def test_a_single_connection_sees_later_writes_and_closes_with_the_engine(writing, url):
    kept, made = open_engine(url, role="read", single_connection=True), []
    sa.event.listen(kept, "connect", lambda connection, record: made.append(connection))
    seen = []
    for _ in range(3):
        with transaction(kept, "looking") as connection:
            seen.append(connection.exec_driver_sql("SELECT COUNT(*) FROM ledger").scalar())
        with transaction(writing, "writing") as connection:
            connection.exec_driver_sql(f"INSERT INTO ledger VALUES ('s', 'feed', 'f', 'reason {len(seen)}', 1)")
    assert (len(made), seen) == (1, [0, 1, 2])
    with pytest.raises(DatabaseError), transaction(kept, "writing") as connection:
        connection.exec_driver_sql("DELETE FROM ledger")
    kept.dispose()
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        made[0].execute("SELECT 1")
