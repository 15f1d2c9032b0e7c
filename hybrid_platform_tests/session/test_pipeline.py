"""A session's settings at work, whole sessions in this process: limits, vetoes, duplicates, history, repetition."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hybrid_platform_tests.support import (
    InProcessRun,
    Settings,
    make_csv_rows,
    replay_feed,
    run_in_process,
    synthetic_feed,
    write_csv,
)

THREAD = {"isolation": "thread"}
DECIDED = ("signals", "vetoes", "orders", "order_events", "trades")


def run(tmp_path: Path, *layers: Settings) -> InProcessRun:
    return run_in_process(tmp_path / "data", *layers, with_report=False)


def file_of(tmp_path: Path, rows: list[str], header: str = "ts,price,size,symbol") -> Path:
    return write_csv(tmp_path / "trades.csv", rows, header)


def decisions(ended: InProcessRun, session_id: str) -> dict[str, list[dict[str, Any]]]:
    found = {
        table: ended.rows(f"SELECT * FROM {table} WHERE session_id = ? ORDER BY n", session_id) for table in DECIDED
    }
    for rows in found.values():
        for row in rows:
            del row["session_id"]
    return found


def test_each_session_starts_flat_and_many_share_one_database(tmp_path: Path):
    path = file_of(tmp_path, make_csv_rows(100))
    runs = [run(tmp_path, replay_feed(path), THREAD) for _ in range(2)]
    assert [run.code for run in runs] == [0, 0]
    first, second = (row["session_id"] for row in runs[1].sessions)
    assert decisions(runs[1], first) == decisions(runs[1], second)
    assert runs[1].count("ticks", first) == runs[1].count("ticks", second) == 100
    assert decisions(runs[1], first)["signals"][0]["signal_id"] == "S10"


@pytest.mark.scenario("S8")
def test_a_replay_of_an_earlier_session_decides_the_same(tmp_path: Path):
    strategy = {"strategy": {"name": "sma_crossover", "params": {"short": 2, "long": 5}}}
    path = file_of(tmp_path, make_csv_rows(200))
    once = run(tmp_path, replay_feed(path), strategy, THREAD)
    again = run(tmp_path, {"feed": {"replay": {"session": once.session["session_id"]}}}, strategy, THREAD)
    assert again.code == 0, again.output
    first, second = (row["session_id"] for row in again.sessions)
    assert decisions(again, first)["signals"]
    assert decisions(again, first) == decisions(again, second)
    assert once.evidence("session")["signals"]["count"] == len(decisions(again, first)["signals"])


@pytest.mark.scenario("I2")
@pytest.mark.parametrize(
    ("risk", "cap"),
    [
        ({"max_exposure_usd": 5}, "exposure"),
        ({"max_symbol_exposure_usd": 5}, "symbol"),
        ({"max_open_orders": 0}, "open orders"),
    ],
    ids=["total", "symbol", "open orders"],
)
def test_a_signal_beyond_a_cap_becomes_one_veto_and_no_order(tmp_path: Path, risk: dict[str, int], cap: str):
    path = file_of(tmp_path, make_csv_rows(100))
    ended = run(tmp_path, replay_feed(path), THREAD, {"risk": risk})
    assert ended.code == 0, "a veto is a decision, not a failure"
    vetoes = decisions(ended, ended.session_id)["vetoes"]
    assert len(vetoes) == 10
    assert ended.count("orders") == ended.count("trades") == 0
    assert {veto["reason"] for veto in vetoes} == {"RISK_CAP"}
    assert all(cap in veto["detail"].replace("_", " ") for veto in vetoes)
    assert ended.evidence("session")["vetoes"] == {"RISK_CAP": 10}
    assert ended.logged("FINAL METRICS")[0]["risk_vetoes"] == 10
    assert [line["reason"] for line in ended.logged("signal vetoed")] == ["RISK_CAP"] * 10


@pytest.mark.scenario("S7", "L2")
def test_stale_data_is_vetoed_and_the_veto_is_persisted(tmp_path: Path):
    rows = [
        f"{row},{int(row.partition(',')[0]) + (3000 if k % 20 else 0)}" for k, row in enumerate(make_csv_rows(41), 1)
    ]
    path = file_of(tmp_path, rows, "ts,price,size,symbol,recv")
    columns = {"ts": "ts", "price": "price", "size": "size", "symbol": "symbol", "ts_recv": "recv"}
    ended = run(tmp_path, {"feed": {"replay": {"path": str(path), "columns": columns}}}, THREAD)
    vetoed = [(veto["signal_id"], veto["reason"]) for veto in decisions(ended, ended.session_id)["vetoes"]]
    assert vetoed == [("S10", "STALE_DATA"), ("S30", "STALE_DATA")]
    assert [order["order_id"] for order in decisions(ended, ended.session_id)["orders"]] == ["O20", "O40"]
    assert ended.rows("SELECT ts_recv - ts_event AS lag FROM ticks WHERE seq = 10") == [{"lag": 3_000_000_000}]


@pytest.mark.scenario("I3")
def test_a_duplicate_trade_changes_nothing_and_is_counted(tmp_path: Path):
    rows = [f"{row},{1000 + k}" for k, row in enumerate(make_csv_rows(50))]
    path = file_of(tmp_path, [*rows, *rows[-20:]], "ts,price,size,symbol,id")
    columns = {"ts": "ts", "price": "price", "size": "size", "symbol": "symbol", "trade_id": "id"}
    ended = run(tmp_path, {"feed": {"replay": {"path": str(path), "columns": columns}}}, THREAD)
    assert ended.count("ticks") == 50
    ledger = ended.ledger()
    received = [ledger["feed", "replay", reason] for reason in ("received", "accepted", "duplicate", "rejected")]
    assert received == [70, 50, 20, 0]
    assert ended.evidence("session")["ledger"]["balances"]


def test_identical_neighbours_without_an_id_are_real_prints(tmp_path: Path):
    path = file_of(tmp_path, [make_csv_rows(1)[0]] * 30)
    assert run(tmp_path, replay_feed(path), THREAD).count("ticks") == 30


def test_warm_start_gives_history_without_signals(tmp_path: Path):
    path = file_of(tmp_path, make_csv_rows(60))
    ended = run(tmp_path, replay_feed(path), THREAD, {"warm_start_ticks": 25})
    assert [signal["signal_id"] for signal in decisions(ended, ended.session_id)["signals"]] == [
        "S30",
        "S40",
        "S50",
        "S60",
    ]
    assert ended.count("ticks") == 60


@pytest.mark.scenario("S13")
@pytest.mark.parametrize(
    ("settings", "reason", "ticks"),
    [
        ({**synthetic_feed(50), "seconds": 0.5}, "TIME_LIMIT", 26),
        ({**synthetic_feed("max", ticks=500)}, "END_OF_FEED", 500),
        ({"seconds": 0.3}, "TIME_LIMIT", None),
        ({"feed": {"replay": {"limit": 15}}}, "END_OF_FEED", 15),
    ],
    ids=["synthetic seconds", "synthetic ticks", "replay seconds", "replay limit"],
)
def test_a_session_states_why_it_ended(tmp_path: Path, settings: dict[str, Any], reason: str, ticks: int | None):
    path = file_of(tmp_path, make_csv_rows(100))
    feed = {} if "synthetic" in settings.get("feed", {}) else replay_feed(path, speed=10)
    ended = run(tmp_path, feed, settings, THREAD)
    assert (ended.code, ended.session["exit_reason"], ended.session["state"]) == (0, reason, "COMPLETE")
    assert ended.count("ticks") == (ticks or ended.count("ticks"))
    assert ticks is not None or ended.count("ticks") < 100


def test_prices_and_sizes_are_stored_exactly(tmp_path: Path):
    path = file_of(tmp_path, [f"{1_700_000_000_000 + k},0.1{k:07d}1,3,SPY" for k in range(20)])
    ended = run(tmp_path, replay_feed(path), THREAD)
    (order,) = ended.rows("SELECT price FROM orders WHERE order_id = 'O10'")
    (trade,) = ended.rows("SELECT fill_price, fees FROM trades WHERE order_id = 'O10'")
    last = Decimal("0.100000091")
    assert Decimal(order["price"]) == last
    assert Decimal(trade["fill_price"]) == last * Decimal("1.001")
    assert Decimal(trade["fees"]) == last * Decimal("1.001") * Decimal("0.1") * Decimal("0.001")


def test_each_symbol_has_its_own_instrument_and_state(tmp_path: Path):
    symbols = ["SOL/USDC", "BTC/USDT", "ETH/USD"]
    ended = run(tmp_path, synthetic_feed("max", ticks=300, symbols=symbols), THREAD)
    found = {row["symbol"]: row["n"] for row in ended.rows("SELECT symbol, count(*) AS n FROM ticks GROUP BY symbol")}
    assert set(found) == set(symbols) and sum(found.values()) == 300
    assert ended.code == 0


@pytest.mark.scenario("S1", "I5")
def test_the_session_writer_reads_its_pragmas_back(tmp_path: Path):
    ended = run(tmp_path, synthetic_feed("max", ticks=20), THREAD)
    pragmas = ended.evidence("session")["pragmas"]
    expected = {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 5000, "temp_store": 2}
    assert {name: pragmas[name] for name in expected} == expected


def test_replayed_files_are_listed_with_their_digest(tmp_path: Path):
    import hashlib

    path = file_of(tmp_path, make_csv_rows(30))
    ended = run(tmp_path, replay_feed(path), THREAD)
    (named,) = ended.evidence("session")["inputs"]
    content = path.read_bytes()
    assert (named["name"], named["bytes"]) == ("trades.csv", len(content))
    assert named["sha256"] == hashlib.sha256(content).hexdigest()
