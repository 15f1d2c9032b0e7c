"""Strategies that raise, block, exit or return nonsense: the session fails, names the cause, and keeps its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hybrid_platform_tests.support import (
    Artifacts,
    make_csv_rows,
    merge_settings,
    replay_feed,
    run_cli,
    run_in_process,
    synthetic_feed,
    write_csv,
)

HEAD = """
import os, sys, time
import msgspec
from hybrid_platform.strategies import Params, Strategy, buy
class Bad(Strategy[Params]):
    def on_tick(self, tick):
        if tick.seq == 10:
            return buy(tick, "0.1", "FIRST")
        if tick.seq < 20:
            return None
"""
BEHAVIOURS = {
    "raises": ("raise ValueError('no idea')", "raised at tick 20: ValueError: no idea ({module}.py:11)"),
    "returns_nonsense": ("return 'BUY'", "expected a Signal, got str"),
    "signals_the_future": ("return msgspec.structs.replace(buy(tick, 1, 'X'), seq=9999)", "in order, got at 9999"),
    "exits": ("sys.exit(0)", "raised at tick 20: SystemExit: 0 ({module}.py:11)"),
    "recurses": ("return self.on_tick(tick)", "raised at tick 20: RecursionError"),
}


def write_strategy(folder: Path, module: str, behaviour: str) -> dict[str, Any]:
    """Write a strategy with this behaviour from tick 20 on, and return the settings that name it."""
    (folder / f"{module}.py").write_text(HEAD + "        " + behaviour + "\n")
    return {"strategy": {"name": f"{module}:Bad"}}


def require_named(artifacts: Artifacts, words: str) -> None:
    """Check that the session failed, named the strategy, and kept all earlier rows."""
    ended = tuple(artifacts.session[name] for name in ("state", "exit_code", "exit_reason"))
    assert ended == ("FAILED", 1, "StrategyError"), "the same in both isolations"
    failure = artifacts.evidence("session")["failure"]
    assert "strategy Bad" in failure and words in failure
    assert artifacts.rows("SELECT signal_id FROM signals") == [{"signal_id": "S10"}], "earlier decisions are kept"
    assert artifacts.count("orders") == artifacts.count("trades") == 1
    assert artifacts.count("ticks") >= 20, "the failing tick and all earlier ones are kept"
    assert artifacts.evidence("session")["ledger"]["balances"]
    assert artifacts.evidence("postflight")["verdict"] == "FAIL"


@pytest.mark.scenario("L4")
@pytest.mark.parametrize("name", BEHAVIOURS)
def test_misbehaving_strategy_is_named_and_ends_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.syspath_prepend(tmp_path)
    behaviour, words = BEHAVIOURS[name]
    module = f"strategy_that_{name}"
    strategy = write_strategy(tmp_path, module, behaviour)
    path = write_csv(tmp_path / "trades.csv", make_csv_rows(500))
    ended = run_in_process(tmp_path / "data", replay_feed(path), strategy, {"isolation": "thread"}, with_report=False)
    assert ended.code == 1
    require_named(ended, words.format(module=module))


@pytest.mark.scenario("L4", "I1")
@pytest.mark.parametrize("name", ["raises", "exits"])
def test_misbehaving_sandboxed_strategy_is_named(tmp_path: Path, name: str):
    behaviour, words = BEHAVIOURS[name]
    strategy = write_strategy(tmp_path, "bad", behaviour)
    write_csv(tmp_path / "trades.csv", make_csv_rows(500))
    ended = run_cli(
        tmp_path, "shadow-run", settings=merge_settings(replay_feed("trades.csv"), strategy, {"isolation": "process"})
    )
    artifacts = Artifacts(tmp_path / "data")
    assert ended.code == 1, ended.text
    require_named(artifacts, words.format(module="bad"))
    assert artifacts.evidence("session")["failure"] in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.scenario("S13")
def test_blocking_strategy_is_abandoned_after_the_drain(tmp_path: Path):
    """The sandboxed case is in session/strategy_host/test_isolation.py."""
    strategy = write_strategy(tmp_path, "bad", "time.sleep(3600)")
    patience = {"seconds": 1, "drain_timeout_seconds": 1, "isolation": "thread"}
    ended = run_cli(tmp_path, "shadow-run", settings=merge_settings(synthetic_feed(200), strategy, patience))
    artifacts = Artifacts(tmp_path / "data")
    assert ended.code == 1, ended.text
    assert "Traceback" not in ended.text
    assert (artifacts.session["state"], artifacts.session["exit_reason"], artifacts.session["is_clean"]) == (
        "FAILED",
        "StageStuck",
        0,
    )
    assert artifacts.evidence("session")["failure"].endswith("got stuck for 1 s: strategy")
    assert artifacts.evidence("postflight")["verdict"] == "FAIL"
    assert artifacts.count("ticks") == 201, "received ticks are kept"
    assert artifacts.count("signals") == 1


def test_unimportable_strategy_is_a_config_error(tmp_path: Path):
    """The error comes before anything is written."""
    (tmp_path / "bad.py").write_text("import nothing_of_this_name\n")
    settings = merge_settings(
        synthetic_feed(20), {"strategy": {"name": "bad:Bad"}, "isolation": "thread", "seconds": 1}
    )
    ended = run_cli(tmp_path, "shadow-run", settings=settings)
    assert ended.code == 12, ended.text
    (line,) = ended.err.splitlines()
    assert line.startswith("error: strategy.name: expected an importable class, got 'bad:Bad': ModuleNotFoundError")
    assert not (tmp_path / "data").exists()
