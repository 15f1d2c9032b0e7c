"""PRAGMAs: set and read back on every connection, with exact values, and refusal when one does not take effect."""

from __future__ import annotations

import sqlite3
import threading

import msgspec
import pytest
import sqlalchemy as sa

from hybrid_platform.domain.errors import ConfigError, ExitCode
from hybrid_platform.domain.records import PragmaEvidence
from hybrid_platform.storage import connection as connections
from hybrid_platform.storage.connection import expected_pragmas, read_pragmas
from hybrid_platform.storage.engine import open_engine, raw_connection, transaction
from hybrid_platform.storage.errors import Cause, DatabaseError, PragmaError
from hybrid_platform.storage.location import default_url
from hybrid_platform.storage.pragmas import prove_snapshot, verify_pragmas
from hybrid_platform.storage.queries import count_rows
from hybrid_platform_tests.storage.conftest import SESSION
from hybrid_platform_tests.storage.samples import locked_by_another_process, make_table, make_ticks

pytestmark = pytest.mark.scenario("S1", "I5", "G3")


@pytest.mark.parametrize("role", ["write", "read"])
@pytest.mark.parametrize("busy_timeout_ms", [5_000, 12_345])
def test_every_connection_has_the_required_values(writing, url, role, busy_timeout_ms):
    engine = open_engine(url, role=role, busy_timeout_ms=busy_timeout_ms)
    for _ in range(3):
        with engine.connect() as connection:
            found = read_pragmas(raw_connection(connection), role)
        assert found["journal_mode"] == "wal"
        assert found["synchronous"] == 1
        assert found["busy_timeout"] == busy_timeout_ms
        assert found["temp_store"] == 2
        assert found["foreign_keys"] == 1


def test_the_writer_reports_its_connections_values(writer):
    assert writer.pragmas == expected_pragmas("write")


def test_a_busy_timeout_below_the_minimum_is_refused(url):
    with pytest.raises(ConfigError, match=r"at least 5000 \(I5\), got 4999"):
        open_engine(url, role="write", busy_timeout_ms=4_999)


def test_verification_passes_and_records_the_readings(writing, url):
    evidence = verify_pragmas(url, busy_timeout_ms=6_000)
    assert evidence.faults == ()
    assert evidence.values["write.journal_mode"] == evidence.values["read.journal_mode"] == "wal"
    assert evidence.values["write.busy_timeout"] == evidence.values["read.busy_timeout"] == 6_000
    assert evidence.sqlite_version == sqlite3.sqlite_version
    assert evidence.snapshot.rows_seen_by_writer > 0
    assert msgspec.convert(msgspec.to_builtins(evidence), PragmaEvidence) == evidence


def test_verification_leaves_nothing_in_the_database(writing, reading, url):
    def content() -> list[object]:
        with transaction(reading, "looking") as connection:
            tables = connection.scalars(sa.text("SELECT name FROM sqlite_master ORDER BY name")).all()
            return [*tables, connection.scalar(sa.text("SELECT count(*) FROM ledger"))]

    before = content()
    verify_pragmas(url)
    assert content() == before


def test_verification_requires_a_sqlite_database():
    with pytest.raises(ConfigError, match="a SQLite URL"):
        verify_pragmas("postgresql+psycopg://host/db")


def test_a_reader_keeps_its_snapshot_while_the_session_writes(writing, reading, writer):
    table = make_table()
    writer.write([make_ticks(table, 1, 1000)], [])
    with transaction(reading, "holding a snapshot") as held:
        assert held.scalar(sa.text("SELECT count(*) FROM ticks")) == 1000
        for part in range(1, 6):
            writer.write([make_ticks(table, 1 + 1000 * part, 1000)], [])
        assert held.scalar(sa.text("SELECT count(*) FROM ticks")) == 1000
        assert count_rows(reading, SESSION)["ticks"] == 6000


def test_without_wal_the_proof_fails(tmp_path):
    # In another journal mode, opened without the engine factory, the writer has to lock the reader out.
    engines = [
        sa.create_engine(f"sqlite:///{tmp_path}/other.db", connect_args={"timeout": 0.1}) for _ in ("write", "read")
    ]
    with engines[0].begin() as connection:
        connection.exec_driver_sql("CREATE TABLE ledger (session_id, kind, name, reason, count)")
    with pytest.raises(DatabaseError) as caught:
        prove_snapshot(*engines)
    assert caught.value.cause is Cause.LOCKED


def _from_the_future(path) -> None:
    """Mark the file as written by a later SQLite, which this one may read but not write."""
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE something (x)")
    connection.close()
    content = bytearray(path.read_bytes())
    content[18] = 3
    path.write_bytes(content)


def test_a_database_that_refuses_wal_stops_the_start(path, url):
    _from_the_future(path)
    with pytest.raises(PragmaError) as caught, open_engine(url, role="write").connect():
        pass
    assert (caught.value.pragma, caught.value.expected) == ("journal_mode", "wal")
    assert caught.value.exit_code is ExitCode.CONFIG
    assert str(path) in str(caught.value)
    with pytest.raises(PragmaError):
        verify_pragmas(url)


def test_a_reader_refuses_a_database_that_is_not_in_wal(path, url):
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE something (x)")
    connection.close()
    with (
        pytest.raises(PragmaError, match=r"journal_mode .*: expected wal, got delete"),
        open_engine(url, role="read").connect(),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "value"), [("synchronous", 7), ("temp_store", 9), ("foreign_keys", 2), ("busy_timeout", -1)]
)
def test_a_value_that_reads_back_differently_stops_the_start(writing, url, monkeypatch, name, value):
    # SQLite interprets each of these values differently; only the value read back counts.
    monkeypatch.setattr(
        connections, "expected_pragmas", lambda role, busy=5000: {**expected_pragmas(role, busy), name: value}
    )
    with pytest.raises(PragmaError) as caught, open_engine(url, role="write").connect():
        pass
    assert caught.value.pragma == name
    assert caught.value.expected == value
    assert caught.value.got == read_after_setting(name, value)


def read_after_setting(name: str, value: int) -> object:
    connection = sqlite3.connect(":memory:")
    connection.execute(f"PRAGMA {name} = {value}")
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_new_database_can_be_shrunk_incrementally(tmp_path):
    with open_engine(default_url(tmp_path), role="write").connect() as connection:
        connection.exec_driver_sql("CREATE TABLE something (x)")
        assert connection.exec_driver_sql("PRAGMA auto_vacuum").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA page_size").scalar() == 8192


def test_the_switch_to_wal_waits_for_another_process(path, url):
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE something (x)")
    connection.close()
    with locked_by_another_process(path) as holder:
        threading.Timer(0.5, holder.release).start()
        with open_engine(url, role="write").connect() as connection:
            assert read_pragmas(raw_connection(connection), "write")["journal_mode"] == "wal"


def test_verification_waits_for_another_writer(writing, path, url):
    with locked_by_another_process(path) as holder:
        threading.Timer(0.5, holder.release).start()
        assert verify_pragmas(url).faults == ()
