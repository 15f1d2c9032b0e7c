"""Real sessions through the whole pipeline, then measured, reproduced and checked against their proofs."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import pytest

from hybrid_platform.evidence.reproduction import ReproductionVerdict
from hybrid_platform.report.trading import format_amount
from hybrid_platform.reproduce.fresh import reproduce_in_sandbox
from hybrid_platform.security.paths import DataDir
from hybrid_platform.storage.location import default_url
from hybrid_platform.strategies import Params, Signal, Strategy, Tick, buy, sell
from hybrid_platform_tests.support import InProcessRun, run_in_process, synthetic_feed

BUSY_S = 0.002


class Slow(Strategy[Params]):
    """A strategy that is too slow for its feed."""

    timer_seconds = 0.1

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.seen = 0

    def on_tick(self, tick: Tick) -> Signal | None:
        self.seen += 1
        until = time.perf_counter() + BUSY_S
        while time.perf_counter() < until:
            pass
        return (buy if self.seen % 40 else sell)(tick, "0.5", "SLOW") if self.seen % 20 == 0 else None


@pytest.fixture(scope="module")
def overrun(tmp_path_factory: pytest.TempPathFactory) -> InProcessRun:
    """A PAPER session whose strategy dropped most of its ticks."""
    return run_in_process(
        tmp_path_factory.mktemp("overrun") / "data",
        synthetic_feed(2_000, symbols=["SOL/USDC", "BTC/USD"]),
        {"mode": "PAPER", "seconds": 2, "isolation": "thread", "strategy": {"name": f"{__name__}:Slow"}},
        {"channels": {"tick": 16}},
    )


@pytest.mark.scenario("S8", "S6")
def test_session_with_dropped_ticks_is_reproduced(overrun):
    """Stored ticks and inputs are enough to reproduce a session that dropped most of its ticks."""
    assert overrun.code == 0, overrun.last.reasons
    found = reproduce_in_sandbox(DataDir(overrun.data_dir), default_url(overrun.data_dir), overrun.session_id)
    assert (found.verdict, found.reasons) == (ReproductionVerdict.PASS, ())
    assert found.dropped == overrun.ledger()["channel", "tick", "dropped"] > 500
    assert found.inputs["DROP"] > 1
    assert found.inputs["TIMER"] > 1
    compared = {table.name: table.compared for table in found.tables}
    assert compared["trades"] == overrun.count("trades") > 0


@pytest.mark.scenario("I2", "I4", "S7")
def test_session_proves_account_caps_and_fresh_data(overrun):
    """Postflight proves I2, I4 and S7, and the account agrees with the stored fees."""
    proofs = {proof["id"]: proof for proof in overrun.evidence("postflight")["proofs"]}
    assert {name: proofs[name]["verdict"] for name in ("I2", "I4", "S7")} == dict.fromkeys(("I2", "I4", "S7"), "PASS")
    assert "the same account" in proofs["I4"]["actual"]
    (usdc,) = [held for held in overrun.evidence("session")["account"]["positions"] if held["quote"] == "USDC"]
    stored = overrun.rows("SELECT fees FROM trades WHERE symbol = 'SOL/USDC'")
    assert usdc["fills"] == len(stored)


def test_report_shows_trading_results(overrun):
    measures = json.loads((overrun.data_dir / "evidence" / overrun.session_id / "measures.json").read_text())
    assert measures["counts"]["fills"] == overrun.count("trades")
    assert f"| fees | {format_amount(measures['result']['fees'])} |" in overrun.report
    for name in ("equity", "drawdown", "price", "exposure", "latency"):
        assert f"(plots/{name}.svg)" in overrun.report
        assert (overrun.data_dir / "evidence" / overrun.session_id / "plots" / f"{name}.svg").stat().st_size > 5_000


@pytest.mark.scenario("S8")
def test_one_changed_row_is_named(overrun, tmp_path):
    """Reproduction fails and names the row that was changed after the session."""
    copy = tmp_path / "data"
    folder = copy / "evidence" / overrun.session_id
    folder.mkdir(parents=True, mode=0o700)
    copy.chmod(0o700)
    (folder / "session.json").write_bytes(_session_json(overrun))
    with sqlite3.connect(overrun.database) as source, sqlite3.connect(copy / "bot.db") as target:
        source.backup(target)
    with sqlite3.connect(copy / "bot.db") as connection:
        connection.execute("UPDATE tick_rows SET size = size + 1 WHERE seq = 123")
    found = reproduce_in_sandbox(DataDir(copy), default_url(copy), overrun.session_id)
    assert found.verdict is ReproductionVerdict.FAIL
    assert found.reasons[0].startswith("ticks n=123 (seq=123) row")


def _session_json(run: InProcessRun) -> bytes:
    return Path(run.data_dir, "evidence", run.session_id, "session.json").read_bytes()
