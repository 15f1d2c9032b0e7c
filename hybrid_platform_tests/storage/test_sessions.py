"""The rows of sessions: start, refusal, end, crash."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import pytest
import sqlalchemy as sa

from hybrid_platform.domain.errors import ConfigError, ExitCode, StorageError
from hybrid_platform.domain.orders import HeartbeatRecord
from hybrid_platform.host.process import this_process
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.errors import Cause, DatabaseError
from hybrid_platform.storage.queries import find_session, find_sessions, read_ledger
from hybrid_platform.storage.session_records import SessionEnd, SessionState
from hybrid_platform.storage.sessions import SessionStore
from hybrid_platform_tests.storage.conftest import SESSION
from hybrid_platform_tests.storage.samples import START_NS, make_order_records, make_table, make_ticks, session_start

END = SessionEnd(SessionState.COMPLETE, ExitCode.COMPLETE, "END_OF_FEED", START_NS + 5, is_clean=True)
LEDGER = [("channel", "tick", "sent", 5), ("table", "ticks", "written", 5)]


def test_a_started_session_is_running_with_its_settings(writing, reading):
    start = session_start(
        "S-2", mode="PAPER", seconds=5, database_url="sqlite:///secret.db", feed={"replay": {"path": "x"}}
    )
    SessionStore(writing).start(start)
    found = find_session(reading, "S-2")
    assert (found.state, found.mode, found.strategy, found.feed) == (
        SessionState.RUNNING,
        "PAPER",
        "periodic",
        "replay",
    )
    assert (found.exit_code, found.exit_reason, found.ended_at, found.is_clean) == (None, None, None, False)
    assert found.started_at == START_NS
    assert found.config_sha256 == start.settings.config_sha256
    assert found.owner == this_process()


@pytest.mark.scenario("S8")
def test_a_sessions_row_reproduces_its_settings_without_secrets(writing, reading):
    start = session_start("S-2", mode="PAPER", database_url="postgresql://user:hunter2@host/db", warm_start_ticks=3)
    SessionStore(writing).start(start)
    found = find_session(reading, "S-2")
    assert "hunter2" not in found.settings
    again = load_settings(json.loads(found.settings), environ={})
    assert again.trading_sha256 == start.settings.trading_sha256 == found.trading_sha256


def test_a_session_id_is_unique(writing):
    with pytest.raises(DatabaseError) as caught:
        SessionStore(writing).start(session_start())
    assert caught.value.cause is Cause.CONFLICT


def test_the_number_of_a_removed_session_is_never_reused(writing, reading):
    with transaction(writing, "removing") as connection:
        connection.execute(sa.text("DELETE FROM sessions"))
    SessionStore(writing).start(session_start("S-2"))
    assert find_session(reading, "S-2").session_no == 2


def test_a_finished_session_has_its_end_and_its_ledger(writing, reading):
    SessionStore(writing).finish(SESSION, END, LEDGER)
    found = find_session(reading, SESSION)
    assert (found.state, found.exit_code, found.exit_reason) == (SessionState.COMPLETE, 0, "END_OF_FEED")
    assert (found.ended_at, found.is_clean) == (START_NS + 5, True)
    assert read_ledger(reading, SESSION) == LEDGER


def test_a_session_ends_once(writing, reading):
    store = SessionStore(writing)
    store.finish(SESSION, END, LEDGER)
    failed = msgspec.structs.replace(END, state=SessionState.FAILED)
    for session_id in (SESSION, "unknown"):
        with pytest.raises(StorageError, match=f"finishing session {session_id}: expected it RUNNING"):
            store.finish(session_id, failed, [("table", "ticks", "written", 6)])
    assert find_session(reading, SESSION).state is SessionState.COMPLETE
    assert read_ledger(reading, SESSION) == LEDGER


def test_a_rewritten_ledger_row_has_the_new_count(writing, reading):
    store = SessionStore(writing)
    store.write_ledger(SESSION, LEDGER)
    store.write_ledger(SESSION, [("table", "ticks", "written", 7)])
    store.write_ledger(SESSION, [])
    assert read_ledger(reading, SESSION) == [LEDGER[0], ("table", "ticks", "written", 7)]


@pytest.mark.scenario("S14")
def test_a_refusal_leaves_a_row_and_changes_none(writing, reading):
    store = SessionStore(writing)
    store.refuse(session_start("S-2"), ExitCode.CONFIG, "LIVE refused")
    found = find_session(reading, "S-2")
    assert (found.state, found.exit_code, found.exit_reason) == (SessionState.REFUSED, 12, "LIVE refused")
    assert found.ended_at == START_NS
    store.refuse(session_start("S-2"), ExitCode.OVERLOAD, "again")
    store.refuse(session_start(), ExitCode.OVERLOAD, "it runs")
    assert find_session(reading, "S-2") == found
    assert find_session(reading, SESSION).state is SessionState.RUNNING


def test_a_crashed_session_is_marked_with_its_committed_rows(writing, reading, writer):
    writer.write(
        [make_ticks(make_table(), 1, 42)], [*make_order_records(1), HeartbeatRecord(0, START_NS + 77, 0, False, "{}")]
    )
    store = SessionStore(writing)
    store.start(session_start("S-2"))
    first, second = sorted(store.mark_crashed(lambda session: True), key=lambda session: session.session_id)
    assert (first.session_id, first.ended_at, first.kept) == (SESSION, START_NS + 77, writer.written)
    assert (second.session_id, second.ended_at, sum(second.kept.values())) == ("S-2", START_NS, 0)
    found = find_session(reading, SESSION)
    assert (found.state, found.exit_code, found.ended_at) == (SessionState.CRASHED, 1, START_NS + 77)
    assert not found.is_clean
    assert ("table", "ticks", "counted", 42) in read_ledger(reading, SESSION)


def test_only_sessions_whose_process_has_ended_are_marked(writing, reading):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    me = this_process()
    owners = {
        "mine": me,
        "of a living process that is another one": msgspec.structs.replace(me, pid=child.pid),
        "of another host": msgspec.structs.replace(me, pid=1, host="elsewhere"),
        "of an earlier boot": msgspec.structs.replace(me, boot_id="another"),
    }
    store = SessionStore(writing)
    for name, owner in owners.items():
        store.start(msgspec.structs.replace(session_start(name), owner=owner))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    store.start(
        msgspec.structs.replace(session_start("of a dead process"), owner=msgspec.structs.replace(me, pid=dead.pid))
    )
    marked = {session.session_id for session in store.mark_crashed()}
    child.communicate(b"\n")
    expected = {"of an earlier boot", "of a dead process", "of a living process that is another one"}
    assert marked == (expected if me.boot_id else {"of a dead process", "of a living process that is another one"})
    assert {session.session_id for session in find_sessions(reading, state=SessionState.RUNNING)} == {
        SESSION, "mine", "of another host",
    }  # fmt: skip


def test_sessions_are_listed_latest_first(writing, reading):
    SessionStore(writing).start(session_start("S-2"))
    assert [session.session_id for session in find_sessions(reading)] == ["S-2", SESSION]
    assert [session.session_id for session in find_sessions(reading, limit=1)] == ["S-2"]
    with pytest.raises(ConfigError, match="the id of a session in the database, got 'S-3'"):
        find_session(reading, "S-3")


def test_a_row_with_an_unknown_state_is_reported(writing, reading):
    with transaction(writing, "tampering") as connection:
        connection.execute(sa.text("UPDATE sessions SET state = 'GREAT'"))
    with pytest.raises(DatabaseError, match="GREAT") as caught:
        find_sessions(reading)
    assert caught.value.cause is Cause.CORRUPT
