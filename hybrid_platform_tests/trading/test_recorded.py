"""Recorded trades through strategy and execution, in SHADOW and in PAPER: accounts, links, caps, and clock skew."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from hybrid_platform.domain.ids import make_signal_id
from hybrid_platform.domain.orders import Signal
from hybrid_platform.domain.ticks import TickBatch, batch_from_rows
from hybrid_platform.settings.trading import StrategySettings
from hybrid_platform.strategies.loader import build_strategy
from hybrid_platform.trading.accounts import rebuild_account
from hybrid_platform_tests.property.trading_oracle import check_account, check_links
from hybrid_platform_tests.trading.market import make_settings, make_table, run


@pytest.fixture(scope="module")
def binance(recorded_data: Path) -> tuple[TickBatch, list[Signal]]:
    """The BTCUSDT recording, whose receive times are 1.2 s before the events, and the signals of sma_crossover."""
    table = make_table("BTCUSDT")
    with gzip.open(recorded_data / "trades" / "binance_spot_btcusdt_20240808.csv.gz", "rt", newline="") as file:
        rows = [
            (
                0,
                int(Decimal(row["price"]).scaleb(9)),
                int(Decimal(row["qty"]).scaleb(9)),
                0,
                int(row["trade_id"]),
                int(row["trade_time_ms"]) * 10**6,
                int(row["recv_ns"]),
            )
            for row in csv.DictReader(file)
        ]
    ticks = batch_from_rows(table, rows).with_seq_from(1)
    made = build_strategy(StrategySettings(name="sma_crossover", params={"size": "0.005"})).on_batch(ticks)
    times = ticks.ts_recv.tolist()
    signals = [
        msgspec.structs.replace(signal, signal_id=make_signal_id(signal.seq), ts=times[signal.seq - 1])
        for signal in made
    ]
    return ticks, signals


@pytest.mark.scenario("S7", "S8", "I4")
def test_the_recording_in_shadow_fills_every_signal(binance):
    ticks, signals = binance
    outcome = run(make_settings(), ticks, signals, range(0, len(ticks), 1000))
    assert Counter(signal.side.value for signal in outcome.signals) == {"BUY": 127, "SELL": 135}
    assert (outcome.vetoes, len(outcome.trades)) == ([], 262)
    check_links(outcome.records)
    positions = outcome.engine.account.positions()
    check_account(outcome.records, positions)
    assert rebuild_account(outcome.trades, {item.key: item for item in ticks.table}).positions() == positions
    assert positions[0].net == Decimal("-0.04")


@pytest.mark.scenario("S10", "S11", "I2", "I4")
def test_the_recording_in_paper_fills_later_and_in_parts(binance):
    ticks, signals = binance
    settings = make_settings("PAPER", paper={"latency": "home", "slippage_bps": 1})
    outcome = run(settings, ticks, signals, range(0, len(ticks), 777))
    assert outcome.records == run(settings, ticks, signals).records
    check_links(outcome.records)
    check_account(outcome.records, outcome.engine.account.positions())
    assert len(outcome.trades) > len(outcome.orders) > 200
    placed = {order.order_id: order.ts for order in outcome.orders.values()}
    assert all(trade.ts >= placed[trade.order_id] + 80 * 10**6 for trade in outcome.trades)
    assert set(outcome.reasons) <= {"RISK_CAP"}
