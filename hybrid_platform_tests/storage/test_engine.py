"""Engines: file creation, roles, transactions and shared connections."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading

import pytest
import sqlalchemy as sa

from hybrid_platform.domain.errors import ExitCode
from hybrid_platform.storage.engine import open_engine, transaction
from hybrid_platform.storage.errors import Cause, DatabaseError
from hybrid_platform.storage.location import default_url


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


def test_a_reader_does_not_create_the_file(tmp_path):
    with pytest.raises(DatabaseError) as caught, open_engine(default_url(tmp_path), role="read").connect():
        pass
    assert caught.value.cause is Cause.MISSING
    assert caught.value.exit_code is ExitCode.CONFIG
    assert list(tmp_path.iterdir()) == []


def test_a_reader_cannot_write(reading):
    with pytest.raises(DatabaseError) as caught, transaction(reading, "writing as a reader") as connection:
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

    def read() -> None:
        for _ in range(20):
            with transaction(reading, "looking") as connection:
                seen.append(connection.scalar(sa.text("SELECT count(*) FROM sessions")) or 0)

    threads = [threading.Thread(target=read) for _ in range(4)]
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
