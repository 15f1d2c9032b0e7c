"""The database's location: URLs, and the files that may exist at their paths."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from hybrid_platform.domain.errors import ConfigError, ExitCode
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import default_url, redact_url, resolve_database_url, sqlite_path, sqlite_url


def open_database(url: str) -> None:
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
    open_database(sqlite_url(path))
    assert path.is_file()


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
            open_database(url)
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


CREATE_OBSTACLE = {
    "link": _link,
    "dangling link": lambda path: path.symlink_to(path.parent / "nothing"),
    "link in a circle": lambda path: path.symlink_to(path),
    "hard link": _hard_link,
    "directory": lambda path: path.mkdir(),
    "fifo": lambda path: os.mkfifo(path),
    "link to a device": lambda path: path.symlink_to("/dev/full"),
}


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("obstacle", CREATE_OBSTACLE)
@pytest.mark.parametrize("role", ["write", "read"])
def test_each_of_the_three_files_has_to_be_a_regular_file(tmp_path, obstacle, suffix, role):
    CREATE_OBSTACLE[obstacle](tmp_path / f"bot.db{suffix}")
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
