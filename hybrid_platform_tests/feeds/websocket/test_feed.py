"""A live feed connected to a local venue over real sockets: S2, S3, S4 and the lag measurements of S7."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from itertools import islice

import pytest

from hybrid_platform.domain.errors import ExitCode, NetworkError
from hybrid_platform.testing import (
    Close,
    Drop,
    LocalVenue,
    NoPong,
    Refuse,
    Repeat,
    Reverse,
    Send,
    Skip,
    Stall,
    TestClock,
    binance_trades,
)
from hybrid_platform_tests.feeds.websocket.live import LiveRun, binance, closed_port
from hybrid_platform_tests.feeds.websocket.samples import HISTORY, OTHERS, SYMBOLS, TRADES


@pytest.mark.scenario("S2")
def test_it_connects_subscribes_and_emits_ticks():
    with LocalVenue(islice(binance_trades(), 50)) as venue:
        run = LiveRun(binance(venue.url)).until_ticks(50)
    assert run.ids == list(range(1, 51))
    assert all(tick.ts_recv > 0 and tick.venue == "BINANCE" and tick.symbol == "BTCUSDT" for tick in run.ticks)
    assert [json.loads(message)["method"] for message in venue.received] == ["SUBSCRIBE", "UNSUBSCRIBE"]
    assert json.loads(venue.received[0])["params"] == ["btcusdt@trade"]
    assert run.log.of("feed connected (S2)")[0]["symbols"] == 1
    assert not run.gaps
    assert not run.rejected


@pytest.mark.scenario("S2")
def test_several_venues_and_symbols_share_one_session():
    names = ["bitstamp", "bybit_v5", "coinbase_advanced", "coinbase_exchange", "gemini_v2", "kraken_v2", "okx_v5"]
    with ExitStack() as stack:
        sources = []
        for name in names:
            frames = [frame for frame, _ in OTHERS[name]] + [TRADES[name]]
            if name in HISTORY:
                frames.insert(0, HISTORY[name][0])
            venue = stack.enter_context(LocalVenue(frames))
            sources.append({"venue": name, "symbols": [SYMBOLS[name]], "url": venue.url})
        local = stack.enter_context(LocalVenue(islice(binance_trades(["BTCUSDT", "ETHUSDT"]), 20)))
        sources.append(binance(local.url, "BTCUSDT", "ETHUSDT"))
        run = LiveRun(*sources).until_ticks(len(names) + 20)
    assert {tick.venue for tick in run.ticks} == {
        *("BINANCE", "BITSTAMP", "BYBIT", "COINBASE", "GEMINI", "KRAKEN", "OKX"),
    }
    assert {tick.symbol for tick in run.ticks if tick.venue == "BINANCE"} == {"BTCUSDT", "ETHUSDT"}
    assert run.history == sum(count for name, (_, count) in HISTORY.items() if name in names)
    assert all(len({tick.venue for tick in batch.ticks.ticks()}) <= 1 for batch in run.batches)
    assert len(run.feed.stats()) == len(sources)


@pytest.mark.scenario("S2")
def test_many_symbols_are_spread_over_connections():
    symbols = [f"C{n}USDT" for n in range(401)]
    with LocalVenue(islice(binance_trades(symbols), 0)) as venue:
        run = LiveRun(binance(venue.url, *symbols)).until(lambda _: len(venue.received) >= 5)
    asked = [json.loads(message)["params"] for message in venue.received if "UNSUB" not in message]
    assert sorted(map(len, asked)) == [1, 100, 100, 100, 100], "at most 100 per message, 200 per connection"
    assert sorted(name for names in asked for name in names) == sorted(f"{name.lower()}@trade" for name in symbols)
    assert run.stats.connects == 3


@pytest.mark.scenario("S3")
def test_a_drop_gives_a_reconnect_and_an_exact_gap():
    script = [[Send(50), Drop()], [Skip(7), Send(20), Close(1012, "restart")], [Repeat(10), Send(30)]]
    with LocalVenue(islice(binance_trades(), 107), script) as venue:
        run = LiveRun(binance(venue.url)).until_ticks(110)
    assert run.ids == [*range(1, 51), *range(58, 78), *range(68, 108)]
    assert run.unique_ids == [*range(1, 51), *range(58, 108)], "ingest removes duplicates"
    [gap] = run.gaps
    assert (gap.n, gap.venue, gap.symbol, gap.from_id, gap.to_id, gap.missing, gap.cause) == (
        *(1, "BINANCE", "BTCUSDT", "50", "58", 7, "drop"),
    )
    assert run.stats.disconnects == {"drop": 1, "closed": 1}
    assert (run.stats.connects, run.stats.gaps, run.stats.missing) == (3, 1, 7)
    assert [entry["cause"] for entry in run.log.of("feed disconnected (S3)")] == ["drop", "closed"]
    assert "1012" in run.log.of("feed disconnected (S3)")[1]["detail"]


@pytest.mark.scenario("S3")
def test_opaque_ids_give_a_gap_of_unknown_size():
    frames = [TRADES["bybit_v5"].replace("0b5c1d5e", f"0b5c1d5{n}") for n in range(4)]
    with LocalVenue(frames, [[Send(2), Drop()], [Skip(1), Send()]]) as venue:
        run = LiveRun({"venue": "bybit_v5", "symbols": ["ETHUSDT"], "url": venue.url}).until_ticks(3)
    [gap] = run.gaps
    assert (gap.from_id[:8], gap.to_id[:8], gap.missing, gap.cause) == ("0b5c1d51", "0b5c1d53", None, "drop")


@pytest.mark.scenario("S3")
def test_missing_ids_on_an_open_connection_are_a_gap():
    with LocalVenue(islice(binance_trades(), 30), [[Send(10), Skip(3), Send()]]) as venue:
        run = LiveRun(binance(venue.url)).until_ticks(27)
    [gap] = run.gaps
    assert (gap.missing, gap.cause) == (3, "trade_id")


@pytest.mark.scenario("S3")
def test_a_jump_in_message_numbers_is_a_gap():
    trade = TRADES["coinbase_advanced"]
    frames = [trade, trade.replace('"sequence_num":4', '"sequence_num":9').replace('"701"', '"702"')]
    with LocalVenue(frames) as venue:
        run = LiveRun({"venue": "coinbase_advanced", "symbols": ["ETH-USD"], "url": venue.url}).until_ticks(2)
    [gap] = run.gaps
    assert (gap.symbol, gap.from_id, gap.to_id, gap.cause) == ("*", "4", "9", "sequence")


@pytest.mark.scenario("S3")
def test_disorder_is_not_a_gap():
    with LocalVenue(islice(binance_trades(), 60), [[Send(20), Reverse(20), Send()]]) as venue:
        run = LiveRun(binance(venue.url)).until_ticks(60)
    assert sorted(run.ids) == list(range(1, 61))
    assert not run.gaps


@pytest.mark.scenario("S3")
def test_a_session_that_ends_disconnected_has_a_gap():
    with LocalVenue(islice(binance_trades(), 9), [[Send(5), Drop()], *([Refuse()] for _ in range(1000))]) as venue:
        run = LiveRun(binance(venue.url), max_failures=1000).until(
            lambda run: run.stats.disconnects.get("refused", 0) >= 2
        )
    [gap] = run.gaps
    assert (gap.from_id, gap.to_id, gap.missing, gap.cause) == ("5", None, None, "drop")


@pytest.mark.scenario("S3", "S4")
@pytest.mark.parametrize("stable_seconds", [30, 0])
def test_a_reconnect_storm_is_bounded(stable_seconds):
    with LocalVenue([], [[Drop()] for _ in range(100)]) as venue:
        run = LiveRun(binance(venue.url), max_failures=6, stable_seconds=stable_seconds).until(lambda _: False)
    assert venue.attempts == 6
    assert isinstance(run.error, NetworkError)
    assert len(run.log.of("feed disconnected (S3)")) == 5
    waits = [entry["retry_in_s"] for entry in run.log.of("feed disconnected (S3)")]
    assert all(wait <= limit for wait, limit in zip(waits, (0.01, 0.02, 0.04, 0.05, 0.05), strict=True))


@pytest.mark.scenario("S3")
def test_stable_connections_reset_the_failures():
    with LocalVenue(islice(binance_trades(), 40), [[Send(4), Drop()] for _ in range(10)]) as venue:
        run = LiveRun(binance(venue.url), max_failures=2, stable_seconds=0).until_ticks(40)
    assert run.error is None
    assert run.stats.connects == 10


@pytest.mark.scenario("S3")
def test_connections_with_only_history_do_not():
    history = HISTORY["kraken_v2"][0]
    with LocalVenue([history] * 50, [[Send(1), Drop()] for _ in range(50)]) as venue:
        run = LiveRun({"venue": "kraken_v2", "symbols": ["ETH/USD"], "url": venue.url}, max_failures=4).until(
            lambda _: False
        )
    assert isinstance(run.error, NetworkError)
    assert venue.attempts == 4


@pytest.mark.scenario("S4")
def test_a_silent_venue_is_reconnected():
    with LocalVenue(islice(binance_trades(), 10), [[Send(5), Stall()]]) as venue:
        run = LiveRun(binance(venue.url), stall_seconds=0.4).until_ticks(10)
    assert run.stats.disconnects["stall"] >= 1
    assert run.ids == list(range(1, 11))
    assert not run.gaps, "a silence without lost trades is not a gap"


@pytest.mark.scenario("S4")
def test_heartbeats_do_not_hide_a_silence():
    heartbeats = ['{"channel":"heartbeat"}'] * 100_000
    with LocalVenue(heartbeats, [[Send(per_second=100)]]) as venue:
        source = {"venue": "kraken_v2", "symbols": ["ETH/USD"], "url": venue.url}
        run = LiveRun(source, stall_seconds=0.4).until(lambda run: run.stats.disconnects.get("stall", 0) >= 1)
    assert run.ignored["heartbeat"] > 5


@pytest.mark.scenario("S4")
def test_a_venue_without_pongs_is_reconnected():
    with LocalVenue(islice(binance_trades(), 10), [[Send(5), NoPong()]]) as venue:
        run = LiveRun(binance(venue.url), ping_seconds=0.1, pong_seconds=0.3).until_ticks(10)
    assert run.stats.disconnects["no_pong"] >= 1


@pytest.mark.scenario("S4")
def test_a_venue_that_answers_pings_is_kept():
    with LocalVenue(islice(binance_trades(), 10), [[Send(5), Stall(1.0), Send()]]) as venue:
        run = LiveRun(binance(venue.url), ping_seconds=0.1, pong_seconds=30).until_ticks(10)
    assert run.stats.connects == 1


@pytest.mark.scenario("S4")
def test_a_venues_own_keepalive_is_sent(monkeypatch):
    from hybrid_platform.feeds.websocket.venue import Ping
    from hybrid_platform.feeds.websocket.venues.okx_v5 import OkxV5

    monkeypatch.setattr(OkxV5, "ping", Ping("ping", 0.05))
    with LocalVenue([TRADES["okx_v5"]]) as venue:
        LiveRun({"venue": "okx_v5", "symbols": ["ETH-USDT"], "url": venue.url}).until(
            lambda _: venue.received.count("ping") >= 2
        )
    assert "ping" in venue.received


@pytest.mark.scenario("S4")
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ws://127.0.0.1:{port}/", "unreachable: "),
        ("wss://venue.invalid:1/", "unreachable: "),
    ],
)
def test_without_a_network_the_feed_fails_clearly(url, words):
    run = LiveRun(binance(url.format(port=closed_port())), max_failures=3).until(lambda _: False)
    assert isinstance(run.error, NetworkError)
    assert run.error.exit_code is ExitCode.NETWORK == 10
    message = str(run.error)
    assert message.startswith("BINANCE: 3 failures in a row over ")
    assert words in message
    assert "Check the network" in message
    assert "\n" not in message
    assert run.stats.disconnects == {"unreachable": 3}


@pytest.mark.scenario("S4")
def test_a_silent_handshake_times_out():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"ws://127.0.0.1:{server.getsockname()[1]}/"
        run = LiveRun(binance(url), max_failures=2, open_seconds=0.2).until(lambda _: False)
    assert run.stats.disconnects == {"timeout": 2}


@pytest.mark.scenario("S4")
def test_a_refusing_venue_is_retried_and_then_fails():
    with LocalVenue([], [[Refuse(503)], [Refuse(429)], [Refuse(403)]]) as venue:
        run = LiveRun(binance(venue.url), max_failures=3).until(lambda _: False)
    assert run.stats.disconnects == {"refused": 3}
    assert "403" in str(run.error)


@pytest.mark.scenario("S4")
def test_a_rejected_subscription_is_reported():
    """The error names the venue and its reason."""
    refusal = '{"error":{"code":2,"msg":"Invalid request: unknown symbol"},"id":1}'
    with LocalVenue([refusal] * 3, [[Send(1)] for _ in range(3)]) as venue:
        run = LiveRun(binance(venue.url), max_failures=3).until(lambda _: False)
    assert run.stats.disconnects == {"venue": 3}
    assert "unknown symbol" in str(run.error)


@pytest.mark.scenario("S4")
def test_one_dead_venue_among_several_ends_the_session():
    with LocalVenue(binance_trades(), [[Send(100_000_000, per_second=200)]]) as venue:
        dead = binance(f"ws://127.0.0.1:{closed_port()}/", "ETHUSDT", label="DEAD")
        run = LiveRun(binance(venue.url), dead, max_failures=3).until(lambda _: False)
    assert "DEAD" in str(run.error)


@pytest.mark.scenario("S13")
def test_a_stop_request_ends_a_long_backoff_at_once():
    run = LiveRun(
        binance(f"ws://127.0.0.1:{closed_port()}/"), backoff_seconds=600, backoff_max_seconds=600, max_failures=1000
    )
    run.until(lambda run: bool(run.stats.disconnects))
    assert run.error is None


@pytest.mark.scenario("S13")
def test_an_abandoned_feed_closes_its_connections():
    with LocalVenue(binance_trades(), [[Send(10)]]) as venue:
        run = LiveRun(binance(venue.url))
        batches = run.feed.batches(type("Never", (), {"is_set": lambda _: False, "wait": lambda *_: False})())
        next(batches)
        batches.close()
        run.feed.close()
        run.feed.close()
        assert any("UNSUBSCRIBE" in message for message in venue.received) or venue.attempts == 1


@pytest.mark.scenario("S7")
def test_lag_and_clocks_that_disagree_are_measured():
    ahead = TestClock()
    ahead.step_wall(4_000_000_000 - 1_700_000_000)
    with LocalVenue(islice(binance_trades(clock=ahead), 60)) as venue:
        run = LiveRun(binance(venue.url)).until_ticks(60)
    assert run.stats.clocks_disagree
    assert run.stats.lag_ms < 0
    assert all(tick.ts_recv < tick.ts_event for tick in run.ticks)


@pytest.mark.scenario("S3", "S5", "S6")
def test_2000_messages_per_second_with_faults():
    """Drops, a stall and garbage lose no other message."""
    from hybrid_platform.testing import Garbage

    rate = 2_000
    script = [
        [Send(1_000, rate), Drop()],
        [Skip(40), Send(1_000, rate), Garbage(), Send(500, rate), Drop()],
        [Repeat(25), Skip(10), Send(1_000, rate), Stall()],
        [Send(500, rate), Drop()],
        [Skip(1), Send()],
    ]
    with LocalVenue(islice(binance_trades(["BTCUSDT", "ETHUSDT"]), 5_000), script) as venue:
        run = LiveRun(binance(venue.url, "BTCUSDT", "ETHUSDT"), stall_seconds=2.0).until(
            lambda run: len(run.ticks) >= 5_000 - 51 + 25
        )
    assert (venue.sent, venue.skipped) == (5_000 - 51, 51)
    assert sum(gap.missing or 0 for gap in run.gaps) == 51
    assert {gap.cause for gap in run.gaps} >= {"drop"}
    new = {(tick.symbol, tick.trade_ref) for tick in run.ticks}
    assert len(new) == venue.sent, "each arrived once; only trades that were never sent are missing"
    assert run.rejected["binary_frame"] == 1
    assert sum(run.rejected.values()) == 11
    assert run.stats.disconnects["drop"] == 3
    assert run.stats.disconnects["stall"] >= 1
