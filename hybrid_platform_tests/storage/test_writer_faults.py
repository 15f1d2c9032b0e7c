"""Faults under the writer: locks, full disks, deleted and replaced files, damaged pages, killed processes."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from hybrid_platform.domain.errors import ExitCode
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.errors import Cause, DatabaseError
from hybrid_platform.storage.location import sqlite_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform.storage.probe import probe_database
from hybrid_platform.storage.queries import count_rows, count_ticks, find_session
from hybrid_platform.storage.session_records import SessionState
from hybrid_platform.storage.sessions import SessionStore
from hybrid_platform.storage.writer import SessionWriter
from hybrid_platform_tests.conftest import REPOSITORY
from hybrid_platform_tests.storage.conftest import SESSION
from hybrid_platform_tests.storage.samples import (
    locked_by_another_process,
    make_order_records,
    make_table,
    make_ticks,
    run_script,
    session_start,
)


@pytest.mark.scenario("S12", "L3")
def test_the_writer_waits_for_a_locked_database(writer, reading, path):
    with locked_by_another_process(path) as holder:
        threading.Timer(1.0, holder.release).start()
        assert writer.write([make_ticks(make_table(), 1, 500)], make_order_records(1)) == 507
    assert (writer.errors, writer.lock_timeouts) == (0, 0)
    assert count_rows(reading, SESSION) == writer.written


@pytest.mark.scenario("S12", "L4")
def test_rows_refused_by_a_long_lock_can_be_written_later(writing, reading, path):
    waits: list[float] = []
    with SessionWriter(writing, SESSION, lock_wait_seconds=0.0, on_wait=waits.append) as writer:
        writer.write([make_ticks(make_table(), 1, 100)], [])
        with (
            locked_by_another_process(path),
            pytest.raises(DatabaseError, match="another process held the lock") as caught,
        ):
            writer.write([make_ticks(make_table(), 101, 100)], make_order_records(1))
        assert caught.value.cause is Cause.LOCKED
        assert caught.value.exit_code is ExitCode.CRASH
        assert len(waits) == 1
        assert waits[0] >= 5.0
        assert (writer.errors, writer.lock_timeouts) == (1, 1)
        assert count_rows(reading, SESSION) == writer.written
        assert writer.write([make_ticks(make_table(), 101, 100)], make_order_records(1)) == 107
        assert count_rows(reading, SESSION) == writer.written


@pytest.mark.scenario("S12")
def test_readers_and_new_sessions_survive_a_locked_database(writing, reading, path):
    with locked_by_another_process(path) as holder:
        assert find_session(reading, SESSION).state is SessionState.RUNNING
        threading.Timer(0.5, holder.release).start()
        SessionStore(writing).start(session_start("20260102T030405Z-00000002"))
    assert find_session(reading, "20260102T030405Z-00000002").state is SessionState.RUNNING


@pytest.mark.scenario("L4")
def test_a_full_database_keeps_its_committed_rows(writing, reading):
    limited = []

    @sa.event.listens_for(writing, "connect")
    def _limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 80")
        limited.append(connection)

    table = make_table()
    with SessionWriter(writing, SESSION) as writer:
        part = 0
        with pytest.raises(DatabaseError) as caught:
            for part in range(100):
                writer.write([make_ticks(table, 1 + 1000 * part, 1000)], [])
        assert caught.value.cause is Cause.FULL
        assert writer.written["ticks"] == 1000 * part > 0
        assert count_rows(reading, SESSION) == writer.written
        limited[-1].execute("PRAGMA max_page_count = 1000000")
        assert writer.write([make_ticks(table, 1 + 1000 * part, 1000)], []) == 1000
        assert count_rows(reading, SESSION) == writer.written


FULL_DISK = """
import json, resource, sys
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.errors import DatabaseError
from hybrid_platform.storage.writer import SessionWriter
from hybrid_platform_tests.storage.samples import make_table, make_ticks

url, session = sys.argv[1:]
table, part, error = make_table(), 0, None
writer = SessionWriter(open_engine(url, role="write"), session)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
try:
    for part in range(100):
        writer.write([make_ticks(table, 1 + 5000 * part, 5000)], [])
except DatabaseError as caught:
    error = caught
before = writer.written["ticks"]
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
again = writer.write([make_ticks(table, 1 + 5000 * part, 5000)], [])
writer.close()
print(json.dumps([part, error.cause, before, again, writer.written["ticks"]]))
"""


@pytest.mark.scenario("L4")
def test_a_full_disk_is_reported_and_loses_no_committed_row(writing, reading, url):
    part, cause, before, again, after = json.loads(run_script(FULL_DISK, url, SESSION, cwd=REPOSITORY))
    assert cause == Cause.FULL
    assert before == 5000 * part > 0
    assert (again, after) == (5000, before + 5000)
    assert count_rows(reading, SESSION)["ticks"] == count_ticks(reading) == after


READ_ONLY = """
import os, sys
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.errors import DatabaseError
from hybrid_platform.storage.migrate import migrate
from hybrid_platform.storage.sessions import SessionStore

engine = open_engine(sys.argv[1], role="write")
migrate(engine)
os.chmod(sys.argv[2], 0o444)
if os.geteuid() == 0:  # nothing is read-only to root
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    SessionStore(engine).mark_crashed()
except DatabaseError as error:
    print(error.cause, int(error.exit_code))
"""


def test_a_read_only_file_is_reported():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        path = Path(folder) / "bot.db"
        printed = run_script(READ_ONLY, sqlite_url(path), path, cwd=REPOSITORY)
    assert printed.split() == [Cause.READ_ONLY, str(int(ExitCode.CONFIG))]


@pytest.mark.scenario("L4")
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_a_deleted_file_is_detected_before_rows_count_as_written(writer, path, suffix):
    writer.write([make_ticks(make_table(), 1, 10)], [])
    path.with_name(path.name + suffix).unlink()
    with pytest.raises(DatabaseError, match=f"got another or no bot.db{suffix}") as caught:
        writer.write([make_ticks(make_table(), 11, 10)], [])
    assert caught.value.cause is Cause.REPLACED
    assert writer.written["ticks"] == 10


@pytest.mark.scenario("L4")
def test_a_replaced_file_is_detected(writer, path):
    writer.write([make_ticks(make_table(), 1, 10)], [])
    other = path.with_name("other.db")
    migrate(open_engine(sqlite_url(other), role="write"))
    other.replace(path)
    with pytest.raises(DatabaseError) as caught:
        writer.write([make_ticks(make_table(), 11, 10)], [])
    assert caught.value.cause is Cause.REPLACED


def test_a_damaged_page_is_reported(writing, reading, path):
    with SessionWriter(writing, SESSION) as writer:
        writer.write([make_ticks(make_table(), 1, 20_000)], [])
    content = bytearray(path.read_bytes())
    for page in range(20, len(content) // 8192 - 1):
        content[page * 8192 : page * 8192 + 200] = b"\xff" * 200
    path.write_bytes(content)
    with pytest.raises(DatabaseError) as caught:
        count_rows(reading, SESSION)
    assert caught.value.cause is Cause.CORRUPT


KILLED = """
import sys
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.sessions import SessionStore
from hybrid_platform.storage.writer import SessionWriter
from hybrid_platform_tests.storage.samples import make_table, make_order_records, session_start, make_ticks

engine = open_engine(sys.argv[1], role="write")
SessionStore(engine).start(session_start("20260102T030405Z-0000dead"))
writer, table = SessionWriter(engine, "20260102T030405Z-0000dead"), make_table()
for part in range(1_000_000):
    writer.write([make_ticks(table, 1 + 1000 * part, 1000)], make_order_records(part + 1))
    print(writer.written["ticks"], flush=True)
"""


@pytest.mark.scenario("L4")
@pytest.mark.parametrize("commits", [1, 40])
def test_rows_committed_before_a_kill_exist_exactly_once(writing, reading, url, commits):
    process = subprocess.Popen([sys.executable, "-c", KILLED, url], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    acknowledged = [int(process.stdout.readline()) for _ in range(commits)][-1]
    process.kill()
    process.communicate()
    assert probe_database(url).ticks >= acknowledged  # a reader opens it first, with the log unchanged
    (crashed,) = SessionStore(writing).mark_crashed()
    assert crashed.session_id == "20260102T030405Z-0000dead"
    parts = crashed.kept["ticks"] // 1000
    assert crashed.kept["ticks"] % 1000 == 0
    assert crashed.kept["ticks"] >= acknowledged
    assert crashed.kept["orders"] == crashed.kept["trades"] == parts
    assert count_ticks(reading, crashed.session_id) == crashed.kept["ticks"]
    assert find_session(reading, crashed.session_id).state is SessionState.CRASHED
    assert find_session(reading, SESSION).state is SessionState.RUNNING  # this process runs
    assert SessionStore(writing).mark_crashed() == []
