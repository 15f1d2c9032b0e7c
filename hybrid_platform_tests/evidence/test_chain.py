"""The chain has a session's important events in order, and detects changed, moved, removed and inserted lines."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.errors import EvidenceError
from hybrid_platform.evidence.chain import MAX_PER_MESSAGE, ChainEntry, EventChain, events_name, walk_chain
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.security.paths import DataDir
from hybrid_platform.testing import TestClock

SESSION = "20260102T030405Z-1a2b3c4d"


def a_chain(folder, count=6):
    data = DataDir(folder)
    chain = EventChain(data, SESSION, TestClock())
    for number in range(count):
        chain.watch({"level": "warning", "message": f"event {number}"})
    chain.flush()
    return (folder / events_name(SESSION)).read_bytes().splitlines(keepends=True)


def messages(folder):
    found: list[ChainEntry] = []
    with (folder / events_name(SESSION)).open("rb") as lines:
        walk_chain(lines, SESSION, found.append)
    return [link.event["message"] for link in found]


def test_a_later_step_continues_the_chain(tmp_path):
    for step in ("preflight", "postflight PASS"):
        chain = EventChain(DataDir(tmp_path), SESSION, TestClock())
        chain.watch({"level": "info", "message": step})
        chain.flush()
    assert messages(tmp_path) == ["preflight", "postflight PASS"]


def test_warnings_and_heartbeats_are_chained(tmp_path):
    """Lines about single orders are not."""
    chain = EventChain(DataDir(tmp_path), SESSION, TestClock())
    log = SessionLog(SESSION, TestClock(), on_line=chain.watch)
    log.info("HEARTBEAT (G4)", n=0, risk_vetoes=3, bp_drops_tick=2)
    log.info("signal generated", reason_code="X")
    log.warning("signal vetoed", reason="RISK_CAP")
    log.warning("trading halted", who="ops", why="a test")
    log.error("stage failed", error="boom")
    log.close()
    chain.flush()
    assert messages(tmp_path) == ["HEARTBEAT (G4)", "trading halted", "stage failed"]


def test_entries_beyond_the_limit_are_counted(tmp_path):
    chain = EventChain(DataDir(tmp_path), SESSION, TestClock())
    for _ in range(MAX_PER_MESSAGE + 5):
        chain.watch({"level": "warning", "message": "again and again"})
    chain.flush()
    said = messages(tmp_path)
    assert len(said) == MAX_PER_MESSAGE + 1
    last = json.loads((tmp_path / events_name(SESSION)).read_text().splitlines()[-1])
    assert (last["event"]["message"], last["event"]["count"]) == ("further lines of kinds that are here", 5)


def test_a_chain_fits_no_other_session(tmp_path):
    with pytest.raises(EvidenceError, match="line 1"):
        walk_chain(a_chain(tmp_path), "20260102T030405Z-ffffffff")


def test_a_secret_in_a_line_does_not_reach_the_chain(tmp_path):
    chain = EventChain(DataDir(tmp_path), SESSION, TestClock())
    log = SessionLog(SESSION, TestClock(), on_line=chain.watch)
    log.warning("connecting failed", url="wss://u:hunter2@venue.example/ws?token=abcdef0123456789abcdef")
    log.close()
    chain.flush()
    text = (tmp_path / events_name(SESSION)).read_text()
    assert "hunter2" not in text
    assert "abcdef0123456789" not in text


def test_a_damaged_line_breaks_the_chain_for_good(tmp_path):
    a_chain(tmp_path)
    path = tmp_path / events_name(SESSION)
    path.write_bytes(path.read_bytes().replace(b"event 2", b"event X"))
    chain = EventChain(DataDir(tmp_path), SESSION, TestClock())
    chain.watch({"level": "warning", "message": "later"})
    chain.flush()
    with pytest.raises(EvidenceError, match="line 4"):
        messages(tmp_path)


def test_nothing_is_written_before_flush(tmp_path):
    chain = EventChain(DataDir(tmp_path), SESSION, TestClock())
    chain.watch({"level": "error", "message": "x"})
    assert list(tmp_path.iterdir()) == []


@given(data=st.data())
def test_no_single_change_to_a_chain_goes_unseen(data, tmp_path_factory):
    lines = a_chain(tmp_path_factory.mktemp("chain"))
    head = walk_chain(lines, SESSION).head
    how = data.draw(st.sampled_from(["byte", "cut", "swap", "repeat", "insert"]))
    at = data.draw(st.integers(0, len(lines) - 1))
    changed = list(lines)
    if how == "byte":
        line = bytearray(lines[at])
        place = data.draw(st.integers(0, len(line) - 1))
        line[place] ^= data.draw(st.integers(1, 255))
        changed[at] = bytes(line)
    elif how == "cut":
        del changed[at]
    elif how == "swap":
        other = data.draw(st.integers(0, len(lines) - 1).filter(lambda n: n != at))
        changed[at], changed[other] = changed[other], changed[at]
    else:
        changed.insert(at, lines[data.draw(st.integers(0, len(lines) - 1))] if how == "repeat" else b"{}\n")
    with suppress(EvidenceError):
        assert walk_chain(changed, SESSION).head != head
