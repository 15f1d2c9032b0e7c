"""Real recordings decode to exactly their trades and history, and every frame is accounted for (S5)."""

from __future__ import annotations

import gzip
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.feeds.base import FeedBatch
from hybrid_platform.feeds.websocket import RecordedFramesFeed
from hybrid_platform.settings.feeds import ReplayFeed

KRAKEN_V1 = {
    "venue": "generic",
    "label": "KRAKEN",
    "generic": {
        "subscribe": ['{"event":"subscribe","pair":{symbols},"subscription":{"name":"trade"}}'],
        "trades": "1",
        "when": {"2": "trade"},
        "symbol": "$.3",
        "price": "0",
        "size": "1",
        "ts": "2",
        "ts_unit": "s",
        "side": "3",
        "buy": "b",
        "sell": "s",
    },
}
FILES = [
    ("binance_coinm_trade_btcusdperp_20240808.jsonl.gz", {"venue": "binance", "market": "coinm"}, 2286, 2286, 0),
    ("binance_spot_aggTrade_btc_eth_dot_20210404.jsonl", {"venue": "binance"}, 4716, 1910, 0),
    ("binance_spot_trade_btcusdt_20240808.jsonl", {"venue": "binance"}, 9757, 9757, 0),
    ("binance_usdm_aggTrade_4alts_20210722.jsonl", {"venue": "binance", "market": "usdm"}, 1535, 91, 0),
    ("binance_usdm_trade_btcusdt_20240808.jsonl.gz", {"venue": "binance", "market": "usdm"}, 21313, 21313, 0),
    ("bitstamp_live_trades_20210405.jsonl", {"venue": "bitstamp"}, 3254, 32, 0),
    ("bybit_v5_publicTrade_linear_20260809.jsonl.gz", {"venue": "bybit_v5", "market": "linear"}, 2546, 327, 0),
    ("coinbase_advanced_market_trades_20260809_a.jsonl.gz", {"venue": "coinbase_advanced"}, 433, 43, 200),
    ("coinbase_exchange_matches_20210417.jsonl", {"venue": "coinbase_exchange"}, 7384, 87, 5),
    ("gemini_v2_20210417.jsonl", {"venue": "gemini_v2"}, 993, 51, 500),
    ("kraken_v1_trade_20210405.jsonl", KRAKEN_V1, 142, 28, 0),
    ("kraken_v2_trade_samples.jsonl", {"venue": "kraken_v2"}, 5, 2, 1),
    ("okx_v5_trades_20220513.jsonl", {"venue": "okx_v5"}, 410, 74, 0),
    ("okx_v5_trades_2026_samples.jsonl", {"venue": "okx_v5"}, 2, 2, 0),
    ("binance_spot_allstreams_btcusdt_20240808.rec.gz", {"venue": "binance"}, 41249, 9757, 0),
    ("binance_usdm_allstreams_btcusdt_20240808.rec.gz", {"venue": "binance", "market": "usdm"}, 93954, 21313, 0),
    ("binance_coinm_allstreams_btcusdperp_20240808.rec.gz", {"venue": "binance", "market": "coinm"}, 48270, 2286, 0),
]
"""(file, whose frames, frames, ticks, history). Gemini's 500 past trades come inside its order books."""


def replay(path: Path, frames: dict) -> tuple[list[FeedBatch], RecordedFramesFeed]:
    settings = ReplayFeed.model_validate({"path": str(path), "frames": frames})
    feed = RecordedFramesFeed(settings, InstrumentTable(), SystemClock())
    feed.open()
    return list(feed.batches(threading.Event())), feed


@pytest.mark.scenario("S2", "S5")
@pytest.mark.parametrize(("name", "form", "frames", "ticks", "history"), FILES, ids=[name for name, *_ in FILES])
def test_a_recording_gives_the_trades_it_holds(recorded_data, name, form, frames, ticks, history):
    batches, feed = replay(recorded_data / "frames" / name, form)
    for batch in batches:
        assert batch.received == len(batch.ticks) + sum(batch.rejected.values()) + batch.history
    assert sum(len(batch.ticks) for batch in batches) == ticks
    assert sum(batch.history for batch in batches) == history
    assert not any(batch.rejected for batch in batches)
    assert not any(batch.gaps for batch in batches), "these captures have no holes"
    assert feed.reader.frames == frames
    # Frames with trades + frames ignored by kind = all frames.
    with_trades = frames - sum(feed.reader.ignored.values())
    assert 0 < with_trades <= ticks + history
    assert sum((Counter(batch.ignored) for batch in batches), Counter()) == feed.reader.ignored


def test_extracted_ticks_match_the_frames(recorded_data):
    batches, _ = replay(recorded_data / "frames" / "binance_spot_trade_btcusdt_20240808.jsonl", {"venue": "binance"})
    with gzip.open(recorded_data / "trades" / "binance_spot_btcusdt_20240808.csv.gz", "rt") as file:
        header = file.readline().strip().split(",")
        rows = [dict(zip(header, line.strip().split(","), strict=True)) for line in file]
    ticks = [tick for batch in batches for tick in batch.ticks.ticks()]
    assert len(rows) == len(ticks)
    for row, tick in zip(rows, ticks, strict=True):
        assert tick.trade_ref == int(row["trade_id"])
        assert tick.ts_event == int(row["trade_time_ms"]) * 1_000_000
        assert tick.ts_recv == int(row["recv_ns"])
        assert tick.price_units == round(float(row["price"]) * 100) * 10**7
        assert tick.side == (-1 if row["buyer_is_maker"].lower() == "true" else 1)


@pytest.mark.scenario("S7")
def test_a_slow_recorder_clock_is_detected(recorded_data):
    _, feed = replay(recorded_data / "frames" / "binance_spot_trade_btcusdt_20240808.jsonl", {"venue": "binance"})
    assert feed.reader.lag.clocks_disagree
    assert -1.28e9 < feed.reader.lag.median_ns < -1.2e9


def test_newest_first_messages_come_out_oldest_first(recorded_data):
    batches, _ = replay(
        recorded_data / "frames" / "coinbase_advanced_market_trades_20260809_a.jsonl.gz", {"venue": "coinbase_advanced"}
    )
    by_symbol: dict[str, list] = {}
    for batch in batches:
        for tick in batch.ticks.ticks():
            by_symbol.setdefault(tick.symbol, []).append(tick)
    for ticks in by_symbol.values():
        ids = [tick.trade_ref for tick in ticks]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert (np.diff([tick.ts_event for tick in ticks]) >= 0).all()


def test_coinbase_advanced_gives_the_makers_side(recorded_data):
    """The book of the same capture shows it: the aggressor bought if the trade is at the ask."""
    import json
    from decimal import Decimal

    batches, _ = replay(
        recorded_data / "frames" / "coinbase_advanced_market_trades_20260809_a.jsonl.gz", {"venue": "coinbase_advanced"}
    )
    sides = {tick.trade_id: tick.side for batch in batches for tick in batch.ticks.ticks()}
    books: dict[str, dict[str, dict[str, Decimal]]] = {}
    agree = disagree = 0
    with gzip.open(recorded_data / "frames" / "coinbase_advanced_market_trades_20260809_a.jsonl.gz", "rt") as file:
        for line in file:
            message = json.loads(line)
            for event in message["events"]:
                if message["channel"] == "l2_data":
                    book = books.setdefault(event["product_id"], {"bid": {}, "offer": {}})
                    for update in event["updates"]:
                        book[update["side"]][update["price_level"]] = Decimal(update["new_quantity"])
                if message["channel"] != "market_trades" or event["type"] != "update":
                    continue
                for trade in event["trades"]:
                    if trade["product_id"] not in books:
                        continue
                    levels = {
                        side: [Decimal(price) for price, left in level.items() if left]
                        for side, level in books[trade["product_id"]].items()
                    }
                    price = Decimal(trade["price"])
                    at = 1 if price >= min(levels["offer"]) else -1 if price <= max(levels["bid"]) else 0
                    agree += at == sides[trade["trade_id"]]
                    disagree += at == -sides[trade["trade_id"]]
    assert (agree, disagree) == (37, 0)
