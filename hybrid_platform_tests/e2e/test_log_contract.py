"""Fixed log messages and fields (docs/contract.md), on standard output and in the log file."""

from __future__ import annotations

import json
import re

import pytest

from hybrid_platform_tests.e2e.conftest import FinishedRun

COUNTERS = {
    "tick_count": 61, "signal_count": 6, "shadow_orders": 6, "trade_count": 6, "persist_errors": 0,
    "risk_vetoes": 0, "bp_drops_tick": 0, "bp_drops_signal": 0, "bp_drops_persist": 0,
}  # fmt: skip


def test_each_line_is_one_json_object(reference: FinishedRun):
    """Every line has time, level, session id and message, in time order."""
    lines = reference.process.out.splitlines()
    assert lines
    times = []
    for text in lines:
        line = json.loads(text)
        assert list(line)[:4] == ["ts", "level", "session_id", "message"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["ts"])
        assert line["level"] in {"debug", "info", "warning", "error"}
        assert line["session_id"] == reference.artifacts.session_id
        times.append(line["ts"])
    assert times == sorted(times)


def test_log_file_equals_standard_output(reference: FinishedRun):
    assert reference.artifacts.log == reference.process.log


@pytest.mark.scenario("S1", "I5", "G3")
def test_pragmas_are_logged_as_read_back(reference: FinishedRun):
    (line,) = reference.artifacts.logged("PRAGMA verification")
    expected = {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 5000, "temp_store": 2}
    assert {name: line[name] for name in expected} == expected
    messages = [line["message"] for line in reference.artifacts.log]
    assert messages.index("PRAGMA verification") + 1 == messages.index("all PRAGMAs verified successfully (S1 PASS)")


@pytest.mark.scenario("S6")
def test_channels_are_logged_with_capacity_and_policy(reference: FinishedRun):
    (line,) = reference.artifacts.logged("channels created (S6: bounded)")
    assert {name: line[name] for name in ("tick", "signal", "persist")} == {"tick": 256, "signal": 64, "persist": 512}
    assert line["policies"] == {"tick": "DROP_OLDEST", "signal": "FAIL", "persist": "DROP_OLDEST"}


@pytest.mark.scenario("G0", "I1", "S9")
def test_execution_logs_the_shadow_adapter(reference: FinishedRun):
    (line,) = reference.artifacts.logged("execution task started (shadow adapter, NO NETWORK)")
    assert line["mode"] == "SHADOW"


@pytest.mark.scenario("S9", "I1")
def test_each_signal_and_shadow_order_is_logged(reference: FinishedRun):
    signals = reference.artifacts.logged("signal generated")
    assert [(line["reason_code"], line["tick_count"]) for line in signals] == [
        ("PERIODIC_TRIGGER", seq) for seq in range(10, 61, 10)
    ]
    orders = reference.artifacts.logged("shadow order executed (I1: no network call)")
    assert [line["is_shadow"] for line in orders] == [True] * 6


@pytest.mark.scenario("G4")
def test_heartbeats_carry_all_counters(reference: FinishedRun):
    """One heartbeat at the start and one at each interval, none of them late."""
    beats = reference.artifacts.logged("HEARTBEAT (G4)")
    for beat in beats:
        assert COUNTERS.keys() | {"persist_count", "queue_depths", "lag_ms"} <= beat.keys()
        assert beat["queue_depths"].keys() >= {"tick", "signal", "persist"}
    assert [beat["n"] for beat in beats] == [0, 1]
    assert beats[0]["tick_count"] < beats[1]["tick_count"] <= 61
    stored = reference.artifacts.rows("SELECT n, is_late FROM heartbeats ORDER BY n")
    assert stored == [{"n": 0, "is_late": 0}, {"n": 1, "is_late": 0}]


def test_final_metrics_are_those_of_the_reference_run(reference: FinishedRun):
    (final,) = reference.artifacts.logged("FINAL METRICS")
    assert {name: final[name] for name in COUNTERS} == COUNTERS
    assert final["persist_count"] == sum(
        reference.artifacts.count(table)
        for table in ("ticks", "signals", "orders", "order_events", "trades", "heartbeats")
    )


@pytest.mark.scenario("S13")
def test_final_metrics_follow_the_last_commit(reference: FinishedRun):
    """The session then ends clean, before postflight."""
    messages = [line["message"] for line in reference.artifacts.log]
    assert messages.index("FINAL METRICS") < messages.index("session ended") < messages.index("postflight PASS")
    (ended,) = reference.artifacts.logged("session ended")
    assert (ended["state"], ended["exit_code"], ended["clean"], ended["ledger_balances"]) == ("COMPLETE", 0, True, True)


@pytest.mark.scenario("S6")
def test_log_lines_of_many_orders_are_thinned(replayed: FinishedRun):
    """After the first 100, each line states how many lines were suppressed."""
    said = replayed.artifacts.logged("shadow order executed (I1: no network call)")
    orders = replayed.artifacts.count("orders")
    assert 100 <= len(said) < orders
    assert all("suppressed" not in line for line in said[:100])
    assert all("suppressed" in line for line in said[100:])
    rest = [line for line in replayed.artifacts.logged("log lines left out") if line["of"] == said[0]["message"]]
    assert len(said) + sum(line["suppressed"] for line in [*said[100:], *rest]) == orders
