"""A complete live session through Dagster, against a misbehaving local venue (S2, S3, S4, S5).

``HYBRID_PLATFORM_TEST_LIVE_SECONDS`` and ``…_LIVE_RATE`` make the session longer and faster.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice

import pytest

from hybrid_platform.testing import Drop, Garbage, LocalVenue, Send, Skip, Stall
from hybrid_platform.testing.frames import binance_trades
from hybrid_platform_tests.support import PROCESS_TIMEOUT_S, Artifacts, ProcessResult, merge_settings, start_job

pytestmark = pytest.mark.scenario("S2", "S3", "S4", "S5")

SECONDS = float(os.environ.get("HYBRID_PLATFORM_TEST_LIVE_SECONDS", "8"))
RATE = float(os.environ.get("HYBRID_PLATFORM_TEST_LIVE_RATE", "300"))
STALL_SECONDS = 1.5
LOST = (7, 40, 3)
GARBAGE = ("{", "[1, 2", '{"stream": "btcusdt@trade", "data": {"e": "trade", "p": "NaN"}}')


@pytest.fixture(scope="module")
def live(tmp_path_factory) -> Iterator[tuple[ProcessResult, Artifacts, LocalVenue]]:
    """Three connection losses with lost trades, a stall, and garbage; then trades until the time limit."""
    folder = tmp_path_factory.mktemp("live")
    part = int(RATE * SECONDS / 8)
    script = [
        [Send(part, per_second=RATE), Skip(LOST[0]), Drop()],
        [Send(part, per_second=RATE), Garbage(GARBAGE), Send(20, per_second=RATE), Skip(LOST[1]), Drop()],
        [Send(part, per_second=RATE), Stall(60)],
        [Send(part, per_second=RATE), Skip(LOST[2]), Drop()],
        [Send(per_second=RATE)],
    ]
    market = islice(binance_trades(["BTCUSDT"]), int(RATE * SECONDS * 2))
    with LocalVenue(market, script) as venue:
        settings = merge_settings(
            {
                "data_dir": "data",
                "seconds": SECONDS,
                "feed": {
                    "websocket": {
                        "sources": [{"venue": "binance", "symbols": ["BTCUSDT"], "url": venue.url}],
                        "stall_seconds": STALL_SECONDS,
                        "backoff_seconds": 0.05,
                        "backoff_max_seconds": 0.2,
                        "record_frames": True,
                    }
                },
                "strategy": {"name": "sma_crossover", "params": {"size": "0.001"}},
                "heartbeat": {"interval_seconds": 5},
            }
        )
        with start_job(folder, settings) as running:
            ended = running.end(SECONDS + PROCESS_TIMEOUT_S)
        yield ended, Artifacts(folder / "data"), venue


def test_session_completes_and_its_ledger_balances(live):
    ended, artifacts, _ = live
    assert ended.code == 0, ended.text
    session = artifacts.evidence("session")
    assert (session["state"], session["exit_reason"]) == ("COMPLETE", "TIME_LIMIT")
    assert session["ledger"]["balances"] is True
    assert artifacts.evidence("postflight")["verdict"] == "PASS"
    assert session["isolation"]["denied"] == []


def test_every_received_tick_is_stored_once(live):
    _, artifacts, venue = live
    ids = [int(row["trade_id"]) for row in artifacts.rows("SELECT trade_id FROM ticks ORDER BY seq")]
    assert len(ids) == len(set(ids))
    assert ids == sorted(ids)
    evicted = artifacts.ledger()["channel", "persist", "dropped"]
    assert artifacts.ledger()["feed", "websocket", "accepted"] == len(ids) + evicted
    # Trades sent after the end of the session were not received.
    assert len(ids) + evicted <= venue.sent


def test_trades_lost_at_each_drop_are_recorded_as_gaps(live):
    _, artifacts, _ = live
    gaps = artifacts.rows("SELECT from_id, to_id, missing, cause FROM gaps WHERE missing > 0 ORDER BY n")
    # A reset connection may also lose trades in flight.
    assert [gap["missing"] >= lost for gap, lost in zip(gaps, LOST, strict=True)] == [True] * len(LOST)
    assert all(int(gap["to_id"]) - int(gap["from_id"]) - 1 == gap["missing"] for gap in gaps)
    ids = [int(row["trade_id"]) for row in artifacts.rows("SELECT trade_id FROM ticks ORDER BY seq")]
    evicted = artifacts.ledger()["channel", "persist", "dropped"]
    missing = sum(gap["missing"] for gap in gaps)
    assert len(ids) + evicted + missing >= ids[-1] - ids[0] + 1


def test_stall_is_noticed_and_the_feed_reconnects(live):
    _, artifacts, venue = live
    assert venue.attempts == 5
    assert "stall" in str([line for line in artifacts.log if line["level"] == "warning"])


def test_garbage_is_rejected_counted_and_sampled(live):
    _, artifacts, _ = live
    ledger = artifacts.ledger()
    assert ledger["feed", "websocket", "rejected"] == len(GARBAGE)
    assert sum(count for (kind, _, _), count in ledger.items() if kind == "rejected") == len(GARBAGE)
    assert artifacts.logged("row rejected (S5)")


def test_report_has_lag_and_latency(live):
    _, artifacts, _ = live
    session = artifacts.evidence("session")
    for figures in (session["lag_ms"], session["latency_us"]):
        assert {"p50", "p99"} <= set(figures)
    assert "p99" in artifacts.report


def test_recorded_frames_can_be_replayed(live):
    """A replay of the recorded frames stores the same number of ticks."""
    from hybrid_platform_tests.support import run_in_process

    _, artifacts, _ = live
    recordings = sorted(str(path) for path in (artifacts.data_dir / "frames").rglob("*.rec*"))
    assert recordings
    again = run_in_process(
        artifacts.data_dir.parent / "again",
        {"feed": {"replay": {"path": recordings, "frames": {"venue": "binance"}, "venue": "BINANCE"}}},
        {"strategy": {"name": "sma_crossover"}},
    )
    assert again.code == 0
    evicted = artifacts.ledger()["channel", "persist", "dropped"]
    assert again.count("ticks") == artifacts.count("ticks") + evicted


def test_missing_venue_ends_the_session_with_network(tmp_path):
    """The feed stops after the configured number of attempts, with exit code 10."""
    from hybrid_platform_tests.support import run_cli

    source = {"venue": "binance", "symbols": ["BTCUSDT"], "url": "ws://127.0.0.1:9"}
    feed = {"sources": [source], "max_failures": 3, "backoff_seconds": 0.01, "backoff_max_seconds": 0.02}
    ended = run_cli(tmp_path, "shadow-run", settings=merge_settings({"data_dir": "data", "feed": {"websocket": feed}}))
    assert ended.code == 10
    assert "Traceback" not in ended.text
    artifacts = Artifacts(tmp_path / "data")
    assert artifacts.session["exit_reason"] == "NetworkError"
    assert "3" in artifacts.evidence("session")["failure"]
