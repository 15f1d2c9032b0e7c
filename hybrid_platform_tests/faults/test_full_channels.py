"""Channels that fill up while the database is locked: each policy acts as stated and counts exactly (S6, I6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_platform_tests.faults.test_locked import locked
from hybrid_platform_tests.support import Artifacts, merge_settings, start_cli, synthetic_feed, wait_until

LIVE = {"seconds": 600, "isolation": "thread", "risk": {"max_open_orders": 10**6}}


@pytest.mark.scenario("S6", "I6")
def test_full_persist_channel_evicts_only_ticks(tmp_path: Path):
    """Evicted ticks are counted, and every decision is kept."""
    artifacts = Artifacts(tmp_path / "data")
    settings = merge_settings(
        LIVE, synthetic_feed(1_000), {"channels": {"persist": 64}, "strategy": {"params": {"every": 500}}}
    )
    with start_cli(tmp_path, "shadow-run", settings=settings) as running:
        wait_until(lambda: artifacts.database.exists() and running.has_logged("signal generated"), "the first signal")
        wait_until(lambda: artifacts.rows("SELECT 1 FROM ticks LIMIT 1"), "the first commit")
        with locked(artifacts.database):
            running.wait_for("signal generated", times=4)
        running.wait_for("signal generated", times=5)
        running.process.terminate()
        ended = running.end()
    assert ended.code == 0, ended.text
    evidence, ledger = artifacts.evidence("session"), artifacts.ledger()
    evicted = ledger["channel", "persist", "dropped"]
    assert evicted > 0
    assert evidence["ledger"]["balances"]
    assert (
        artifacts.count("ticks") + evicted
        == evidence["counters"]["tick_count"]
        == ledger["feed", "synthetic", "accepted"]
    )
    assert evidence["counters"]["bp_drops_persist"] == evicted
    assert {line["channel"] for line in artifacts.logged("events dropped (S6)")} == {"persist"}
    assert ended.logged("FINAL METRICS")[0]["bp_drops_persist"] == evicted
    for table, count in (("signals", "signal_count"), ("orders", "shadow_orders"), ("trades", "trade_count")):
        assert artifacts.count(table) == evidence["counters"][count] >= 5


@pytest.mark.scenario("S6", "L4")
def test_full_priority_lane_ends_with_overload(tmp_path: Path):
    """The session ends before a decision would go unrecorded."""
    artifacts = Artifacts(tmp_path / "data")
    settings = merge_settings(
        LIVE, synthetic_feed(500), {"channels": {"persist": 256}, "strategy": {"params": {"every": 1}}}
    )
    with start_cli(tmp_path, "shadow-run", settings=settings) as running:
        running.wait_for("signal generated")
        wait_until(lambda: artifacts.rows("SELECT 1 FROM ticks LIMIT 1"), "the first commit")
        with locked(artifacts.database):
            failure = running.wait_for("stage failed")
        ended = running.end()
    assert ended.code == 13, ended.text
    assert "Traceback" not in ended.text
    assert "channel persist: expected room" in failure["error"]
    assert (artifacts.session["state"], artifacts.session["exit_code"], artifacts.session["exit_reason"]) == (
        "FAILED",
        13,
        "OverloadError",
    )
    ledger = artifacts.ledger()
    assert ledger["channel", "persist", "sent"] == sum(
        ledger["channel", "persist", reason] for reason in ("received", "dropped", "left")
    )
    assert artifacts.count("signals") == artifacts.count("orders") + artifacts.count("vetoes")
    # The refused decision is reported as such, not as an evicted tick.
    evicted = ledger["channel", "persist", "dropped"] - ledger["channel", "persist", "refused"]
    assert artifacts.count("ticks") + evicted == ledger["feed", "synthetic", "accepted"]
    faults = artifacts.evidence("session")["ledger"]["faults"]
    assert [fault for fault in faults if "refused" in fault] and not [fault for fault in faults if "evicted" in fault]


@pytest.mark.scenario("S6")
def test_slow_strategy_sees_fresh_ticks(tmp_path: Path):
    """Every dropped tick is counted, journalled and persisted."""
    (tmp_path / "slow.py").write_text(
        "import time\n"
        "from hybrid_platform.strategies import Params, Strategy\n"
        "class Slow(Strategy[Params]):\n"
        "    def on_tick(self, tick):\n"
        "        time.sleep(0.01)\n"
    )
    artifacts = Artifacts(tmp_path / "data")
    settings = merge_settings(
        LIVE, synthetic_feed(1_000), {"channels": {"tick": 32}, "strategy": {"name": "slow:Slow"}, "seconds": 2}
    )
    with start_cli(tmp_path, "shadow-run", settings=settings) as running:
        ended = running.end()
    assert ended.code == 0, ended.text
    ledger = artifacts.ledger()
    dropped = ledger["channel", "tick", "dropped"]
    assert dropped > 500
    assert ledger["channel", "tick", "sent"] == artifacts.count("ticks") == 2001, "dropped ticks are still persisted"
    assert ledger["channel", "tick", "received"] + dropped == 2001
    holes = artifacts.rows("SELECT detail FROM inputs WHERE kind = 'DROP' AND session_id = ?", artifacts.session_id)
    assert holes, "dropped ranges are journalled, so that the session can be reproduced"
    reported = artifacts.logged("events dropped (S6)")
    assert {(line["level"], line["channel"]) for line in reported} == {("warning", "tick")}
    assert reported[0]["count"] > 0 and reported[-1]["dropped_so_far"] <= dropped
    assert len(reported) < 200, "log lines are thinned"
