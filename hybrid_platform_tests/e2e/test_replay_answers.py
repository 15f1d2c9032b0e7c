"""Recorded trades give their known signals, the same in every new process (S8)."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from hybrid_platform_tests.e2e.conftest import FinishedRun
from hybrid_platform_tests.support import REPOSITORY, Artifacts, merge_settings, run_cli, run_in_process, start_job

ROOMY = {"risk": {"max_exposure_usd": 10**9, "max_symbol_exposure_usd": 10**9, "max_open_orders": 10**6}}
THREAD = {"isolation": "thread"}
SMA = {"strategy": {"name": "sma_crossover"}}


def digest_of(signals: Iterable[dict[str, Any]]) -> str:
    """Return SHA-256 over the lines ``seq,SIDE``, as EXPECTED.md defines it."""
    return hashlib.sha256("".join(f"{s['seq']},{s['side']}\n" for s in signals).encode()).hexdigest()


def signals_of(artifacts: Artifacts) -> list[dict[str, Any]]:
    query = """SELECT s.seq, s.side, t.price, t.ts_event FROM signals s
               JOIN ticks t ON t.session_id = s.session_id AND t.seq = s.seq
               WHERE s.session_id = ? ORDER BY s.n"""
    return artifacts.rows(query, artifacts.session_id)


def sides_of(signals: list[dict[str, Any]]) -> tuple[int, int]:
    return sum(s["side"] == "BUY" for s in signals), sum(s["side"] == "SELL" for s in signals)


@pytest.mark.scenario("S8")
def test_sample_gives_the_same_decisions_again(replayed: FinishedRun, tmp_path: Path):
    """Batch sizes and isolation do not affect the decisions."""
    shutil.copytree(REPOSITORY / "run_configs", tmp_path / "run_configs")
    other = ["--set", "isolation=thread", "--set", "channels.tick=700", "--set", "storage.batch_rows=900"]
    ended = run_cli(tmp_path, "shadow-run", "--config", "run_configs/replay.yaml", *other)
    again = Artifacts(tmp_path / "data")
    assert (ended.code, replayed.process.code) == (0, 0)
    first, second = replayed.artifacts.evidence("session"), again.evidence("session")
    assert first["signals"] == second["signals"]
    assert first["signals"]["sha256"] == digest_of(signals_of(replayed.artifacts)) == digest_of(signals_of(again))
    assert first["inputs"] == second["inputs"], "the file is named by its digest"
    for table in ("vetoes", "orders", "order_events", "trades"):
        assert rows_of(replayed.artifacts, table) == rows_of(again, table), table


def rows_of(artifacts: Artifacts, table: str) -> list[dict[str, Any]]:
    rows = artifacts.rows(f"SELECT * FROM {table} WHERE session_id = ? ORDER BY n", artifacts.session_id)
    for row in rows:
        del row["session_id"]
    return rows


def test_replay_is_lossless_and_persists_every_tick(replayed: FinishedRun):
    assert replayed.artifacts.count("ticks") == 20_000
    session = replayed.artifacts.evidence("session")
    assert {channel["policy"] for channel in session["channels"]} == {"BLOCK"}
    assert sum(channel["dropped"] for channel in session["channels"]) == 0
    assert (session["state"], session["exit_reason"]) == ("COMPLETE", "END_OF_FEED")


@pytest.mark.scenario("S8")
def test_crossover_fixture_gives_its_two_signals(recorded_data: Path, tmp_path: Path):
    path = recorded_data / "fixtures" / "crossover_scenario.jsonl"
    artifacts = run_in_process(
        tmp_path / "data", SMA, THREAD, {"feed": {"replay": {"path": str(path)}}}, with_report=False
    )
    assert artifacts.code == 0, artifacts.output
    found = [(s["seq"], s["side"], s["price"], s["ts_event"]) for s in signals_of(artifacts)]
    assert found == [(21, "BUY", 101.0, 1_700_000_020_000_000_000), (38, "SELL", 102.0, 1_700_000_037_000_000_000)]
    assert artifacts.count("ticks") == 50


@pytest.mark.scenario("S8")
def test_binance_recording_gives_its_known_answer(recorded_data: Path, tmp_path: Path):
    path = recorded_data / "trades" / "binance_spot_btcusdt_20240808.csv.gz"
    feed = {"feed": {"replay": {"path": str(path)}}}
    artifacts = run_in_process(tmp_path / "data", SMA, ROOMY, THREAD, feed, with_report=False)
    assert artifacts.code == 0, artifacts.output
    signals = signals_of(artifacts)
    assert artifacts.count("ticks") == 9_757
    assert sides_of(signals) == (127, 135)
    assert digest_of(signals)[:16] == artifacts.evidence("session")["signals"]["sha256"][:16] == "bc87d366e53cff11"
    first = [(85, "BUY", 61824.01), (126, "SELL", 61829.76), (166, "BUY", 61824.01), (221, "SELL", 61828.57)]
    assert [(s["seq"], s["side"], s["price"]) for s in signals[:4]] == first


@pytest.mark.scenario("S8", "I2")
def test_three_days_of_spy_give_their_known_signals(recorded_data: Path, tmp_path: Path):
    """1.14 million ticks through Dagster."""
    path = recorded_data / "trades" / "us_equity_spy_20131007-09.csv.gz"
    with start_job(tmp_path, merge_settings(SMA, {"feed": {"replay": {"path": str(path)}}})) as running:
        ended = running.end(300)
    assert ended.code == 0, ended.text[-2000:]
    artifacts = Artifacts(tmp_path / "data")
    signals = signals_of(artifacts)
    assert artifacts.count("ticks") == 1_141_823
    assert sides_of(signals) == (36_378, 35_665)
    assert digest_of(signals)[:16] == "a3b7c787bc4a9824"
    first = [(27, "BUY", 167.23), (49, "SELL", 167.24), (55, "BUY", 167.32), (59, "SELL", 167.22)]
    assert [(s["seq"], s["side"], s["price"]) for s in signals[:4]] == first
    assert artifacts.count("orders") + artifacts.count("vetoes") == len(signals), (
        "each signal is either an order or a veto"
    )
