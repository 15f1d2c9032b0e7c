"""Real recordings: counts, and the signals of an exact moving-average rule that is computed independently here."""

from __future__ import annotations

import hashlib
from collections import deque
from pathlib import Path

import pytest

from hybrid_platform_tests.feeds.support import ReplayResult, replay


def crossings(result: ReplayResult, short: int = 5, long: int = 20) -> list[tuple[int, str, str]]:
    """Return ``(seq, side, price)`` of each crossing of two exact averages, of one symbol."""
    window: deque[int] = deque(maxlen=long)
    previous = None
    found = []
    seq = 0
    for batch in result.batches:
        for price in batch.ticks.price.tolist():
            seq += 1
            window.append(price)
            if len(window) < long:
                continue
            diff = sum(list(window)[-short:]) * long - sum(window) * short
            if previous is not None and (previous <= 0 < diff or previous >= 0 > diff):
                found.append((seq, "BUY" if diff > 0 else "SELL", f"{price / 10**9:.2f}"))
            previous = diff
    return found


def digest(signals: list[tuple[int, str, str]]) -> str:
    return hashlib.sha256("".join(f"{seq},{side}\n" for seq, side, _ in signals).encode()).hexdigest()[:16]


@pytest.mark.scenario("S8")
def test_the_spy_recording_gives_its_known_answer(recorded_data: Path) -> None:
    result = replay(recorded_data / "trades/us_equity_spy_20131007-09.csv.gz")
    assert (result.count, result.rejected.total(), result.error) == (1_141_823, 0, None)
    signals = crossings(result)
    assert signals[:4] == [(27, "BUY", "167.23"), (49, "SELL", "167.24"), (55, "BUY", "167.32"), (59, "SELL", "167.22")]
    assert sum(side == "BUY" for _, side, _ in signals) == 36_378
    assert (len(signals), digest(signals)) == (36_378 + 35_665, "a3b7c787bc4a9824")


@pytest.mark.scenario("S8")
def test_binance_recording_gives_its_known_answer(recorded_data: Path) -> None:
    result = replay(recorded_data / "trades/binance_spot_btcusdt_20240808.csv.gz")
    assert (result.count, result.rejected.total(), result.error) == (9_757, 0, None)
    signals = crossings(result)
    assert signals[0] == (85, "BUY", "61824.01")
    assert (len(signals), digest(signals)) == (127 + 135, "bc87d366e53cff11")
    ids = [row[4] for row in result.rows]
    assert ids == list(range(ids[0], ids[0] + 9_757))
    assert {row[6] < row[5] for row in result.rows} == {True}, "the recorder's clock was slow"


def test_the_crossover_fixture_gives_its_known_answer(recorded_data: Path) -> None:
    result = replay(recorded_data / "fixtures/crossover_scenario.jsonl")
    assert crossings(result) == [(21, "BUY", "101.00"), (38, "SELL", "102.00")]


@pytest.mark.parametrize(
    ("name", "ticks", "rejected", "symbols"),
    [
        ("trades/us_equity_aig_20131008-10.csv.gz", 149_668, {}, 1),
        ("trades/lean_equity_usa_tick_ibm_20131008_trade.zip", 33_381, {}, 1),
        ("trades/lean_future_comex_tick_gc_20131007_trade.zip", 40_192, {}, 10),
        ("trades/binance_usdm_btcusdt_20240808.csv.gz", 21_313, {}, 1),
        ("trades/binance_coinm_btcusdperp_20240808.csv.gz", 2_286, {}, 1),
        ("trades/tardis_binance-futures_btcusdt_20200222.csv.gz", 9_999, {}, 1),
        ("quotes/lean_cfd_oanda_tick_xauusd_20140505_quote.zip", 186_204, {}, 1),
        ("quotes/lean_forex_fxcm_tick_eurusd_20140508_quote.zip", 167_466 - 18_285, {"crossed": 18_285}, 1),
    ],
)
def test_every_recording_is_recognised_and_read_whole(
    recorded_data: Path, name: str, ticks: int, rejected: dict[str, int], symbols: int
) -> None:
    result = replay(recorded_data / name)
    assert (result.count, dict(result.rejected), len(result.table), result.error) == (ticks, rejected, symbols, None)


def test_lean_ticks_agree_with_the_converted_file(recorded_data: Path) -> None:
    lean = replay(recorded_data / "trades/lean_equity_usa_tick_ibm_20131008_trade.zip", limit=1).rows[0]
    converted = replay(recorded_data / "trades/us_equity_aig_20131008-10.csv.gz", limit=1).rows[0]
    assert lean[5] // (86_400 * 10**9) == converted[5] // (86_400 * 10**9)


def test_the_gold_contracts_are_merged_by_time(recorded_data: Path) -> None:
    """Trades of size zero are kept."""
    result = replay(recorded_data / "trades/lean_future_comex_tick_gc_20131007_trade.zip")
    times = [row[5] for row in result.rows]
    assert times == sorted(times)
    assert sum(row[2] == 0 for row in result.rows) == 147
    assert sum(row[2] == 0 and row[0] == "GC-201312" for row in result.rows) == 92
