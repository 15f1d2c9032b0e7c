"""Whole sessions with sandboxed strategies: what gets out, what is counted, and which rows remain (I1)."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from hybrid_platform.session.strategy_host.process import MODULE
from hybrid_platform.settings.session import DEFAULT_ISOLATION
from hybrid_platform_tests.session.rogues import ACTS, FILES, FORGER, HEAD, SILENT
from hybrid_platform_tests.support import Artifacts, merge_settings, run_cli, start_cli, synthetic_feed, wait_until

pytestmark = [
    pytest.mark.scenario("I1"),
    pytest.mark.skipif(DEFAULT_ISOLATION != "process", reason="this host has no kernel guard"),
]

FAST = synthetic_feed(500, ticks=60)


@contextmanager
def listener():
    """A server on this machine that counts who reaches it."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        stop = threading.Event()

        def listen() -> None:
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                heard.append(1)
                connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield server.getsockname()[1], heard
        finally:
            stop.set()
            thread.join()


def run(folder: Path, code: str, name: str = "Rogue", **layer):
    (folder / "mine.py").write_text(code)
    settings = merge_settings(FAST, {"data_dir": "data", "strategy": {"name": f"mine:{name}"}}, layer)
    return run_cli(folder, "shadow-run", settings=settings), Artifacts(folder / "data")


@pytest.mark.parametrize("act", ACTS)
def test_nothing_leaves_the_process_and_the_attempt_fails_it(tmp_path, act):
    with listener() as (port, heard):
        ended, artifacts = run(
            tmp_path, HEAD + ACTS[act] % {"port": port} if "%(port)d" in ACTS[act] else HEAD + ACTS[act]
        )
    assert heard == []
    assert ended.code == 1
    isolation = artifacts.evidence("session")["isolation"]
    assert isolation["enforced"] == "kernel-process"
    assert sum(entry["count"] for entry in isolation["denied"] if entry["source"] == "kernel") > 0
    assert {entry["stage"] for entry in isolation["denied"]} <= {"strategy", "execution"} or act == "a child thread"
    assert "(I1)" in ended.text
    # The decision itself is recorded, and the ledger still balances.
    assert artifacts.session["state"] == "FAILED"
    assert artifacts.evidence("session")["ledger"]["balances"] is True
    assert artifacts.count("signals") == 1


def test_the_same_strategy_reaches_the_listener_unguarded(tmp_path, monkeypatch):
    """Without the sandbox the attack succeeds, so the tests above can fail."""
    (tmp_path / "mine.py").write_text(HEAD)
    monkeypatch.syspath_prepend(tmp_path)
    with listener() as (port, heard):
        namespace: dict = {}
        exec(HEAD + ACTS["urllib"] % {"port": port}, namespace)
        tick = type("T", (), {"seq": 10})()
        with pytest.raises(AttributeError):  # only the connection matters; `buy` then misses a real tick
            namespace["Rogue"](None).act(tick)
        wait_until(lambda: heard, "the listener to be reached")


@pytest.mark.parametrize(
    "frame",
    ["b'\\xff' * 64", "struct.pack('<I', 2**31) + b'x'", "struct.pack('<I', 6) + b'\\x81\\xa4type'"],
    ids=["garbage", "an endless frame", "no message"],
)
def test_a_malicious_frame_ends_the_session_with_one_error(tmp_path, frame):
    ended, artifacts = run(tmp_path, FORGER % {"frame": frame})
    assert ended.code == 1
    assert "Traceback" not in ended.text
    assert artifacts.session["state"] == "FAILED"
    assert artifacts.session["exit_reason"] == "IsolationError"
    assert artifacts.has_evidence("postflight")
    assert artifacts.count("ticks") >= 10


def test_database_evidence_and_keys_are_out_of_reach(tmp_path):
    data = tmp_path / "data"
    names = [str(data / "bot.db"), str(data / "logs"), str(data / "keys" / "signing.key"), f"/proc/{os.getpid()}/mem"]
    (data / "keys").mkdir(parents=True, mode=0o700)
    (data / "keys" / "signing.key").write_text("secret")
    data.chmod(0o700)
    ended, artifacts = run(tmp_path, FILES % {"names": names})
    (said,) = [line["line"] for line in artifacts.logged("strategy said") if line["line"].startswith("got:")]
    assert said == "got: []"
    assert ended.code == 0


def test_an_honest_user_strategy_runs_and_its_prints_are_logged(tmp_path):
    ended, artifacts = run(tmp_path, SILENT, "Honest")
    assert ended.code == 0, ended.text
    assert artifacts.count("orders") == 60 // 7
    assert [line["line"] for line in artifacts.logged("strategy said")] == ["hello from the strategy"]
    evidence = artifacts.evidence("session")
    assert (evidence["isolation"]["requested"], evidence["isolation"]["enforced"]) == ("process", "kernel-process")
    ledger = artifacts.ledger()
    assert ledger["channel", "pipe_ticks", "sent"] == ledger["channel", "pipe_ticks", "received"] == 60
    assert ledger["channel", "pipe_records", "left"] == 0
    assert ledger["channel", "signal", "received"] == 60 // 7


@pytest.mark.scenario("S8")
def test_threads_and_process_decide_alike(tmp_path):
    digests = set()
    for isolation in ("thread", "process"):
        folder = tmp_path / isolation
        folder.mkdir()
        settings = merge_settings(
            {
                "data_dir": "data",
                "isolation": isolation,
                "strategy": {"name": "sma_crossover"},
                "feed": {"replay": {"path": str(Path(__file__).parents[3] / "run_configs/data/sample_trades.csv.gz")}},
            },
            {"feed": {"replay": {"columns": {"ts": "ts_ms", "price": "price", "size": "size", "symbol": "symbol"}}}},
        )
        assert run_cli(folder, "shadow-run", settings=settings).code == 0
        artifacts = Artifacts(folder / "data")
        digests.add(artifacts.evidence("session")["signals"]["sha256"])
        counts = {
            name: artifacts.count(name) for name in ("ticks", "signals", "vetoes", "orders", "order_events", "trades")
        }
        digests.add(str(counts))
        fills = artifacts.rows(
            "SELECT trade_id, fill_price, fees FROM trades WHERE session_id = ? ORDER BY n", artifacts.session_id
        )
        digests.add(str(fills))
    assert len(digests) == 3


def test_a_killed_sandboxed_process_leaves_evidence(tmp_path):
    settings = merge_settings(synthetic_feed(200), {"data_dir": "data", "seconds": 60})
    with start_cli(tmp_path, "shadow-run", settings=settings) as running:
        running.wait_for("signal generated", 3)
        (child,) = children_of(running.process.pid)
        os.kill(child, signal.SIGKILL)
        ended = running.end()
    artifacts = Artifacts(tmp_path / "data")
    assert ended.code == 1
    assert "Traceback" not in ended.text
    assert "killed by signal 9" in artifacts.evidence("session")["failure"]
    assert artifacts.session["state"] == "FAILED"
    assert artifacts.evidence("session")["isolation"]["end"] is None
    assert artifacts.evidence("postflight")["verdict"] == "FAIL"
    written = artifacts.ledger()["table", "ticks", "written"]
    assert written == artifacts.count("ticks") > 0


def children_of(pid: int) -> list[int]:
    """The sandboxed processes below a run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(fields[1]) == pid and MODULE.encode() in command:
                found.append(int(entry.name))
    return found


@pytest.mark.scenario("S13")
def test_a_blocked_strategy_ends_the_session(tmp_path):
    """The drain's time limit ends the session; it does not hang."""
    ended, artifacts = run(tmp_path, SILENT, "Stuck", drain_timeout_seconds=2, seconds=3)
    assert ended.code == 1
    assert artifacts.session["exit_reason"] == "StageStuck"
    assert artifacts.evidence("session")["clean"] is False
    assert artifacts.has_evidence("postflight")


def test_a_strategy_that_cannot_be_imported_is_a_config_error(tmp_path):
    """The error comes before anything is written."""
    (tmp_path / "mine.py").write_text("raise RuntimeError('no such luck')")
    ended = run_cli(
        tmp_path, "shadow-run", settings=merge_settings(FAST, {"data_dir": "data", "strategy": {"name": "mine:X"}})
    )
    assert ended.code == 12
    assert "no such luck" in ended.err
    assert "Traceback" not in ended.text
    assert not (tmp_path / "data").exists()


def test_require_isolation_refuses_weaker_isolation(tmp_path):
    settings = merge_settings(FAST, {"data_dir": "data", "isolation": "thread", "require_isolation": True})
    ended = run_cli(tmp_path, "shadow-run", settings=settings)
    assert ended.code == 12
    assert "require_isolation" in ended.text


@pytest.mark.scenario("S13")
def test_a_stuck_strategy_is_found_despite_heartbeats(tmp_path):
    beats = {"interval_seconds": 0.5}
    ended, artifacts = run(tmp_path, SILENT, "Stuck", drain_timeout_seconds=2, seconds=2, heartbeat=beats)
    assert ended.code == 1
    assert artifacts.session["exit_reason"] == "StageStuck"


@pytest.mark.scenario("S13")
@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_a_slow_strategy_is_not_taken_for_a_stuck_one(tmp_path, isolation, monkeypatch):
    rows = "\n".join(f"{1_700_000_000_000 + k},100,1,X" for k in range(3_000))
    (tmp_path / "slow.csv").write_text("ts,price,size,symbol\n" + rows + "\n")
    slow = "import time\n" + SILENT.replace("if tick.seq == 1:", "time.sleep(0.001)\n        if tick.seq == 1:")
    columns = {"ts": "ts", "price": "price", "size": "size", "symbol": "symbol"}
    feed = {"replay": {"path": "slow.csv", "columns": columns}}
    (tmp_path / "mine.py").write_text(slow)
    environ = {"PYTHONPATH": f"{Path(__file__).parents[3]}{os.pathsep}{tmp_path}"}
    layers = {"data_dir": "data", "isolation": isolation, "drain_timeout_seconds": 6, "feed": feed}
    settings = merge_settings(layers, {"strategy": {"name": "mine:Honest"}})
    ended = run_cli(tmp_path, "shadow-run", settings=settings, **environ)
    assert ended.code == 0, ended.text
    assert Artifacts(tmp_path / "data").count("ticks") == 3_000


@pytest.mark.scenario("S6")
def test_an_overload_accounts_for_every_tick(tmp_path):
    """The failure names the overloaded stage and no other."""
    layers = {"data_dir": "data", "seconds": 3, "channels": {"on_full": "FAIL"}}
    ended = run_cli(tmp_path, "shadow-run", settings=merge_settings(synthetic_feed("max"), layers))
    artifacts = Artifacts(tmp_path / "data")
    assert ended.code == 13
    assert artifacts.session["exit_reason"] == "OverloadError"
    assert artifacts.evidence("session")["ledger"]["faults"] == []
    assert "I1" not in " ".join(artifacts.evidence("session")["reasons"])
