"""Reproduction passes, fails with the first differing row, or is incomplete (S8)."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys

import pytest

from hybrid_platform.domain.clocks import NS_PER_S, SystemClock
from hybrid_platform.domain.commands import CommandKind
from hybrid_platform.domain.errors import ConfigError, IsolationError
from hybrid_platform.domain.orders import InputKind, InputRecord
from hybrid_platform.evidence.reproduction import ReproductionEvidence, ReproductionVerdict, read_reproduction
from hybrid_platform.reproduce.fresh import reproduce_in_sandbox
from hybrid_platform.reproduce.session import reproduce
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.session import DEFAULT_ISOLATION
from hybrid_platform.storage.session_records import SessionState
from hybrid_platform.strategies import Params, Signal, Strategy, Tick, buy
from hybrid_platform.strategies.runner import StrategyRunner
from hybrid_platform_tests.recording import CODE, START, BusyStrategy, Recorder, SessionEvent, make_ticks, random_walk

PASS, FAIL, INCOMPLETE = ReproductionVerdict
SHOW, DROP, EVICT = (lambda count, kind=kind: SessionEvent(kind, count) for kind in ("show", "drop", "evict"))
ACTS = {
    "clean": [],
    "drops": [SHOW(10), DROP(7), SHOW(20), DROP(1), SHOW(5), DROP(30)],
    "halt": [SHOW(30), SessionEvent("command", 5), SHOW(20), SessionEvent("command", 5, command=CommandKind.RESUME)],
    "timers": [SHOW(5), SessionEvent("idle", 800), SHOW(5), DROP(5), SessionEvent("idle", 1500)],
    "late": [SHOW(5), SessionEvent("show", 20, late_ms=9000), SHOW(5)],
}


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    return Recorder(tmp_path_factory.mktemp("recorded") / "data")


def check(recorder: Recorder, session_id: str) -> ReproductionEvidence:
    return reproduce(recorder.reading, session_id, CODE, SystemClock())


@pytest.mark.scenario("S8")
@pytest.mark.parametrize("kind", ACTS)
def test_a_session_is_decided_again_from_its_ticks_and_inputs(recorder, kind):
    recorded = recorder.record(recorder.settings(), make_ticks(random_walk()), ACTS[kind])
    found = check(recorder, recorded.session_id)
    assert (found.verdict, found.reasons, found.first) == (PASS, (), None)
    assert {table.name: table.compared for table in found.tables} == {
        table.name: table.recorded for table in found.tables
    }
    assert all(table.recorded_sha256 == table.reproduced_sha256 for table in found.tables)
    by_name = {table.name: table.compared for table in found.tables}
    assert by_name["trades"] > 5
    assert by_name["inputs"] == sum(found.inputs.values())
    expected = {"clean": "TIMER", "drops": "DROP", "halt": "COMMAND", "timers": "TIMER", "late": "LATE_DECISION"}
    assert found.inputs[expected[kind]]


TAMPERED = [
    ("UPDATE trade_rows SET fill_price = '99.9999' WHERE {s} AND n = 4", "trades n=4", "fill_price"),
    ("UPDATE trade_rows SET fees = fees || '1' WHERE {s} AND n = 2", "trades n=2", "fees"),
    ("UPDATE order_rows SET qty = '7' WHERE {s} AND n = 1", "orders n=1", "qty"),
    ("UPDATE order_rows SET status = 'EXPIRED' WHERE {s} AND n = 1", "orders n=1", "status"),
    ("UPDATE order_event_rows SET reason = 'NO' WHERE {s} AND n = 9", "order_events n=9", "reason"),
    ("UPDATE signal_rows SET confidence = 0.7500001 WHERE {s} AND n = 3", "signals n=3", "confidence"),
    ("UPDATE veto_rows SET detail = 'none' WHERE {s} AND n = 1", "vetoes n=1", "detail"),
    ("UPDATE input_rows SET kind = 'TEA' WHERE {s} AND n = 1", "inputs", "kind"),
    ("UPDATE signal_rows SET size = 'x' WHERE {s} AND n = 5", "signals n=5", "size"),
    ("DELETE FROM trade_rows WHERE {s} AND n = 3", "trades", "row"),
    ("DELETE FROM signal_rows WHERE {s} AND n = 6", "signals", "row"),
    ("DELETE FROM trade_rows WHERE {s} AND n = (SELECT max(n) FROM trade_rows WHERE {s})", "trades", "row"),
    ("INSERT INTO veto_rows SELECT session_no, 999, 'S999', seq, venue, symbol, reason, detail, ts FROM veto_rows"
     " WHERE {s} AND n = 1", "vetoes n=999", "row"),
    ("UPDATE tick_rows SET price = price + 5000000000 WHERE {s} AND seq = 8", "", ""),
    ("DELETE FROM tick_rows WHERE {s} AND seq = 40", "expected 0 evicted by the ledger, got 1 missing: seq 40–40", ""),
    ("DELETE FROM tick_rows WHERE {s} AND seq = 100", "seq 100–100", ""),
]  # fmt: skip


@pytest.mark.scenario("S8")
@pytest.mark.parametrize(("statement", "where", "field"), TAMPERED)
def test_a_single_changed_row_is_reported(recorder, statement, where, field):
    recorded = recorder.record(recorder.settings(), make_ticks(random_walk()), ACTS["drops"])
    number = "session_no = (SELECT session_no FROM sessions WHERE session_id = :id)"
    recorder.tamper(statement.format(s=number), id=recorded.session_id)
    found = check(recorder, recorded.session_id)
    assert found.verdict is FAIL
    assert where in found.reasons[0]
    assert field in found.reasons[0]
    if field:
        assert found.first is None or found.first.field == field
        assert sum(table.differing for table in found.tables) <= 1


@pytest.mark.scenario("S8", "S14")
def test_a_live_session_is_reproduced_without_an_adapter(recorder):
    """The journalled reports of the venue replace it."""
    said = [each for dice in range(60) for each in (SHOW(1), SessionEvent("report", 5 * dice))]
    recorded = recorder.record(recorder.settings(mode="LIVE"), make_ticks(random_walk()), said)
    found = check(recorder, recorded.session_id)
    assert (found.verdict, found.reasons) == (PASS, ())
    assert found.inputs["REPORT"] > 20
    assert {table.name: table.compared for table in found.tables}["trades"] > 5
    number = "session_no = (SELECT session_no FROM sessions WHERE session_id = :id)"
    recorder.tamper(
        f"UPDATE input_rows SET detail = replace(detail, 'ACCEPTED', 'EXPIRED') WHERE {number} AND n = "
        f"(SELECT max(n) FROM input_rows WHERE {number} AND detail LIKE '%ACCEPTED%')",
        id=recorded.session_id,
    )
    assert check(recorder, recorded.session_id).verdict is FAIL


def test_the_first_difference_is_the_one_that_was_decided_first(recorder):
    recorded = recorder.record(recorder.settings(), make_ticks(random_walk()))
    number = "session_no = (SELECT session_no FROM sessions WHERE session_id = :id)"
    recorder.tamper(f"UPDATE trade_rows SET symbol = 'X' WHERE {number} AND n = 9", id=recorded.session_id)
    recorder.tamper(f"UPDATE order_event_rows SET ts = 5 WHERE {number} AND n = 3", id=recorded.session_id)
    found = check(recorder, recorded.session_id)
    assert found.first is not None
    assert (found.first.table, found.first.n, found.first.was) == ("order_events", 3, "5")
    assert sum(table.differing for table in found.tables) == 2


@pytest.mark.scenario("S8")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tick_rows SET size = size + 1 WHERE {s} AND seq = 57",
        "UPDATE tick_rows SET ts_event = ts_event - 1 WHERE {s} AND seq = 57",
        "UPDATE tick_rows SET price = price + 1000000000 WHERE {s} AND seq = 57",
        "DELETE FROM tick_rows WHERE {s} AND seq = 57",
    ],
)
def test_a_single_changed_tick_is_located(recorder, statement):
    """The changed tick is reported first, before the decisions that follow from it."""
    recorded = recorder.record(recorder.settings(), make_ticks(random_walk()), [SHOW(60), EVICT(2)])
    clean = reproduce(recorder.reading, recorded.session_id, CODE, SystemClock(), recorded.written)
    assert clean.verdict is INCOMPLETE
    number = "session_no = (SELECT session_no FROM sessions WHERE session_id = :id)"
    recorder.tamper(statement.format(s=number), id=recorded.session_id)
    found = reproduce(recorder.reading, recorded.session_id, CODE, SystemClock(), recorded.written)
    assert found.verdict is FAIL
    assert (found.first.table, found.first.n) == ("ticks", 57)
    assert found.reasons[0].startswith("ticks n=57 (seq=57) row: expected as it was written")


@pytest.mark.scenario("S8")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE input_rows SET ts = ts + 1000000 WHERE {s} AND n = 2",
        "UPDATE input_rows SET detail = 'x' WHERE {s} AND n = 2",
        "DELETE FROM input_rows WHERE {s} AND n = 2",
    ],
)
def test_a_single_changed_input_is_located(recorder, statement):
    """The changed input is reported first, before the decisions that follow from it."""
    recorded = recorder.record(recorder.settings(), make_ticks(random_walk()), ACTS["halt"])
    number = "session_no = (SELECT session_no FROM sessions WHERE session_id = :id)"
    recorder.tamper(statement.format(s=number), id=recorded.session_id)
    found = reproduce(recorder.reading, recorded.session_id, CODE, SystemClock(), recorded.written)
    assert found.verdict is FAIL
    assert (found.first.table, found.first.n) == ("inputs", 2)


@pytest.mark.scenario("S8")
def test_evicted_ticks_are_listed_and_make_it_incomplete(recorder):
    events = [SHOW(20), EVICT(2), SHOW(30), EVICT(3)]
    recorded = recorder.record(recorder.settings(), make_ticks(random_walk()), events)
    found = check(recorder, recorded.session_id)
    assert found.verdict is INCOMPLETE
    assert found.reasons == ("ticks: 5 were not persisted, the strategy saw 21: seq 21–22, 53–55",)
    assert found.shown == 20
    assert 0 < found.tables[0].compared < found.tables[0].recorded


@pytest.mark.scenario("S8", "L4")
def test_refused_records_are_not_counted_as_evicted_ticks(recorder):
    recorded = recorder.record(recorder.settings(), make_ticks(random_walk()), [SHOW(20), EVICT(2)])
    ledger = "session_id = :id AND kind = 'channel' AND name = 'persist'"
    refused = (
        "INSERT INTO ledger (session_id, kind, name, reason, count) VALUES (:id, 'channel', 'persist', 'refused', 3)"
    )
    recorder.tamper(f"UPDATE ledger SET count = 5 WHERE {ledger}", id=recorded.session_id)
    recorder.tamper(refused, id=recorded.session_id)
    assert check(recorder, recorded.session_id).verdict is INCOMPLETE, "two evicted, three refused, two missing"
    recorder.tamper(f"UPDATE ledger SET count = 4 WHERE {ledger} AND reason = 'refused'", id=recorded.session_id)
    found = check(recorder, recorded.session_id)
    assert found.verdict is FAIL and "expected 1 evicted by the ledger, got 2 missing" in found.reasons[0]


def test_evicted_ticks_before_the_strategy_are_incomplete(recorder):
    """Evicted ticks make a reproduction INCOMPLETE even if the strategy never received them."""
    recorded = recorder.record(
        recorder.settings(), make_ticks(random_walk()), [SHOW(20), SessionEvent("lose", 5), SHOW(10)]
    )
    found = check(recorder, recorded.session_id)
    assert found.verdict is INCOMPLETE
    assert "the strategy saw none of them" in found.reasons[0]
    assert all(table.compared == table.recorded for table in found.tables)


def test_decisions_before_missing_ticks_are_compared(recorder):
    recorded = recorder.record(recorder.settings(), make_ticks(random_walk()), [SHOW(60), EVICT(2)])
    number = "session_no = (SELECT session_no FROM sessions WHERE session_id = :id)"
    recorder.tamper(f"UPDATE trade_rows SET fees = '0' WHERE {number} AND n = 1", id=recorded.session_id)
    assert check(recorder, recorded.session_id).verdict is FAIL


@pytest.mark.parametrize("finish", [True, False])
def test_a_failed_session_is_compared_up_to_its_last_instant(recorder, finish):
    """The verdict is INCOMPLETE."""
    recorded = recorder.record(recorder.settings(), make_ticks(random_walk()), state=SessionState.FAILED, finish=finish)
    found = check(recorder, recorded.session_id)
    assert (found.verdict, found.reasons) == (INCOMPLETE, ("the session ended FAILED: END_OF_FEED",))
    assert found.tables[0].compared > 10


def test_a_missing_or_running_session_is_refused(recorder):
    with pytest.raises(ConfigError, match="session: expected the id of a session"):
        check(recorder, "20260102T030405Z-ffffffff")


@pytest.mark.scenario("S8")
def test_a_replaying_runner_fires_journalled_timers_only():
    ticks = make_ticks([(0, 100, 400)] * 5)
    runner = StrategyRunner(BusyStrategy(Params()), ticks.table, is_journalled=True)
    assert [step.timer for step in runner.on_batch(ticks)] == [None]
    (step,) = runner.on_entry(InputRecord(1, 5, InputKind.TIMER, START + NS_PER_S, "{}"))
    assert (step.timer, step.inputs[0].after_seq) == (START + NS_PER_S, 5)
    assert [signal.reason for signal in step.signals] == ["TIMER"]
    assert list(runner.on_entry(InputRecord(2, 5, InputKind.LATE_DECISION, START, "{}"))) == []


class Chance(Strategy[Params]):
    """Not a function of its ticks."""

    def on_tick(self, tick: Tick) -> Signal | None:
        return buy(tick, 1, "CHANCE") if random.random() < 0.5 else None


class Loud(Strategy[Params]):
    """Prints, and raises if a file exists."""

    def on_tick(self, tick: Tick) -> Signal | None:
        print("not an answer")
        return buy(tick, 1, "LOUD") if tick.seq % 10 == 0 else None


@pytest.mark.scenario("S8")
def test_a_random_strategy_fails_the_reproduction(recorder):
    settings = recorder.settings(strategy={"name": f"{__name__}:Chance"})
    recorded = recorder.record(settings, make_ticks(random_walk()))
    found = check(recorder, recorded.session_id)
    assert found.verdict is FAIL
    assert found.first is not None
    assert found.first.table == "signals"


@pytest.mark.scenario("S8")
def test_a_fresh_process_reproduces_and_leaves_its_evidence(recorder):
    settings = recorder.settings(strategy={"name": f"{__name__}:Loud"})
    recorded = recorder.record(settings, make_ticks(random_walk()), ACTS["drops"])
    data_dir = DataDir(recorder.folder)
    found = reproduce_in_sandbox(data_dir, recorder.url, recorded.session_id)
    assert (found.verdict, found.reasons) == (PASS, ())
    assert found.tables[0].compared > 3
    assert read_reproduction(data_dir, recorded.session_id) == found


ROGUE = """
import socket, sys
from pathlib import Path
from hybrid_platform.strategies import Params, Strategy, buy

class Rogue(Strategy[Params]):
    def on_tick(self, tick):
        if tick.seq == 20 and "pytest" not in sys.modules:
            self.act()
        return buy(tick, 1, "ROGUE") if tick.seq %% 10 == 0 else None

class Reader(Rogue):
    def act(self):
        got = []
        for name in %(names)r:
            try:
                got.append(Path(name).read_bytes()[:9])
            except OSError:
                pass
        if got:
            raise RuntimeError(f"got out: {got}")

class Caller(Rogue):
    def act(self):
        try:
            socket.create_connection(("127.0.0.1", %(port)d), 1)
        except OSError:
            pass
"""


@pytest.mark.scenario("I1", "S8")
@pytest.mark.skipif(DEFAULT_ISOLATION != "process", reason="this host has no kernel guard")
@pytest.mark.parametrize("rogue", ["Reader", "Caller"])
def test_a_reproduced_strategy_is_sandboxed(recorder, tmp_path, monkeypatch, rogue):
    """The sandbox of a reproduction denies what the sandbox of a session denies."""
    key, outside = recorder.folder / "keys" / "signing.key", tmp_path / "elsewhere.pem"
    key.parent.mkdir(exist_ok=True)
    names = [key, outside, recorder.folder / "bot.db", f"/proc/{os.getpid()}/environ"]
    for name in names[:2]:
        name.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        port = server.getsockname()[1]
        (tmp_path / f"rogue_{rogue}.py").write_text(ROGUE % {"names": list(map(str, names)), "port": port})
        monkeypatch.syspath_prepend(tmp_path)
        recorded = recorder.record(
            recorder.settings(strategy={"name": f"rogue_{rogue}:{rogue}"}), make_ticks(random_walk())
        )
        found = reproduce_in_sandbox(DataDir(recorder.folder), recorder.url, recorded.session_id, str(outside))
        with pytest.raises(TimeoutError):
            server.accept()
    assert found.enforced == "kernel-process"
    assert found.tables[0].compared == found.tables[0].recorded == 10
    if rogue == "Reader":
        assert (found.verdict, found.reasons, found.denied) == (PASS, (), ())
    else:
        assert found.verdict is FAIL
        assert "socket (socket), denied (I1)" in found.reasons[0]
        assert {(each.source, each.stage) for each in found.denied} == {
            ("kernel", "strategy"),
            ("audit-hook", "strategy"),
        }


LIMITLESS = """
import os, time
from hybrid_platform.strategies import Params, Strategy

class Sleeper(Strategy[Params]):
    def on_tick(self, tick):
        if tick.seq == 3 and os.getpid() != %(pid)d:
            time.sleep(60)

class Leaker(Strategy[Params]):
    def on_tick(self, tick):
        if tick.seq == 3 and os.getpid() != %(pid)d:
            self.kept = bytearray(512 << 20)
"""


@pytest.mark.scenario("I1", "S8")
@pytest.mark.parametrize("kind", ["Sleeper", "Leaker"])
def test_a_reproduced_strategy_has_the_limits_of_a_session(recorder, tmp_path, monkeypatch, kind):
    (tmp_path / f"limitless_{kind}.py").write_text(LIMITLESS % {"pid": os.getpid()})
    monkeypatch.syspath_prepend(tmp_path)
    settings = recorder.settings(
        strategy={"name": f"limitless_{kind}:{kind}"}, isolation_memory_mb=256, watchdog={"stuck_seconds": 1}
    )
    recorded = recorder.record(settings, make_ticks(random_walk()))
    if kind == "Sleeper":
        with pytest.raises(IsolationError, match=r"within watchdog.stuck_seconds \(1 s\), got none"):
            reproduce_in_sandbox(DataDir(recorder.folder), recorder.url, recorded.session_id)
    else:
        found = reproduce_in_sandbox(DataDir(recorder.folder), recorder.url, recorded.session_id)
        assert found.verdict is FAIL
        assert "MemoryError" in found.reasons[0]


SLOW = """
import os, time
from hybrid_platform.strategies import Params, Strategy

class ByTicks(Strategy[Params]):
    def on_tick(self, tick):
        if os.getpid() != %(pid)d:
            time.sleep(0.03)

class ByBatches(Strategy[Params]):
    def on_batch(self, batch):
        if os.getpid() != %(pid)d:
            time.sleep(len(batch) * 0.0008)
        return ()
"""


@pytest.mark.scenario("S8")
@pytest.mark.parametrize(("kind", "ticks"), [("ByTicks", 100), ("ByBatches", 3_000)])
def test_a_slow_strategy_is_waited_for_while_it_makes_progress(recorder, tmp_path, monkeypatch, kind, ticks):
    """A batch may take longer than ``watchdog.stuck_seconds``, as long as the status changes."""
    (tmp_path / f"slow_{kind}.py").write_text(SLOW % {"pid": os.getpid()})
    monkeypatch.syspath_prepend(tmp_path)
    settings = recorder.settings(strategy={"name": f"slow_{kind}:{kind}"}, watchdog={"stuck_seconds": 2})
    recorded = recorder.record(settings, make_ticks([(0, 100, 1)] * ticks))
    found = reproduce_in_sandbox(DataDir(recorder.folder), recorder.url, recorded.session_id)
    assert (found.verdict, found.shown) == (PASS, ticks)


def test_fresh_process_reports_why_it_fails(recorder):
    with pytest.raises(ConfigError, match="expected the id of a session"):
        reproduce_in_sandbox(DataDir(recorder.folder), recorder.url, "20260102T030405Z-ffffffff")


@pytest.mark.parametrize(("kind", "code"), [("clean", 0), ("tampered", 1), ("evicted", 3), ("unknown", 12)])
def test_the_command_exits_with_the_verdict(recorder, kind, code):
    recorded = recorder.record(recorder.settings(), make_ticks(random_walk()), [EVICT(2)] if kind == "evicted" else [])
    session_id = recorded.session_id if kind != "unknown" else "nothing"
    if kind == "tampered":
        number = "session_no = (SELECT session_no FROM sessions WHERE session_id = :id)"
        recorder.tamper(f"UPDATE trade_rows SET fees = '0' WHERE {number} AND n = 1", id=recorded.session_id)
    command = [
        sys.executable,
        "-m",
        "hybrid_platform.cli",
        "reproduce",
        session_id,
        "--data-dir",
        str(recorder.folder),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    if kind == "tampered":
        assert "trades n=1" in ended.stdout
