"""Trades through ccxt.pro from a local server (needs the extra ``ccxt``)."""

# ruff: noqa: E501 (an answer is one line)

from __future__ import annotations

import importlib.util

import pytest

from hybrid_platform.domain.errors import ConfigError, NetworkError
from hybrid_platform.testing import Drop, LocalVenue, Send, Skip
from hybrid_platform_tests.feeds.websocket.live import LiveRun, closed_port

HAVE_CCXT = importlib.util.find_spec("ccxt") is not None
needs_ccxt = pytest.mark.skipif(not HAVE_CCXT, reason="the extra `ccxt` is not installed")

MARKET = """[{"name":"ETH/USD","market_symbol":"ethusd","base_currency":"ETH","base_decimals":8,"counter_currency":"USD",
"counter_decimals":1,"minimum_order_value":"10","trading":"Enabled","instant_order_counter_decimals":2,
"instant_and_market_orders":"Enabled","description":"Ether / U.S. dollar","market_type":"SPOT"}]"""
PAGES = {"/api/v2/markets/": MARKET}


def frames(count: int) -> list[str]:
    return [
        f'{{"event":"trade","channel":"live_trades_ethusd","data":{{"id":{n},"timestamp":"1700000000","amount":0.5,'
        f'"amount_str":"0.50000000","price":2000.1,"price_str":"2000.1","type":{n % 2},'
        f'"microtimestamp":"1700000000{n:06d}","buy_order_id":1,"sell_order_id":2}}}}'
        for n in range(1, count + 1)
    ]


def source(venue_url: str) -> dict:
    http = venue_url.replace("ws://", "http://")
    urls = {"api": {"public": f"{http}/api", "private": f"{http}/api", "v1": f"{http}/api", "ws": venue_url}}
    return {"venue": "ccxt", "exchange": "bitstamp", "symbols": ["ETH/USD"], "options": {"urls": urls}}


@needs_ccxt
@pytest.mark.scenario("S2")
def test_trades_arrive_through_ccxt():
    with LocalVenue(frames(20), pages=PAGES) as venue:
        run = LiveRun(source(venue.url)).until_ticks(20)
    assert run.ids == list(range(1, 21))
    tick = run.ticks[0]
    assert (tick.venue, tick.symbol, str(tick.price), str(tick.size)) == (
        "BITSTAMP",
        "ETH/USD",
        "2000.100000000",
        "0.500000000",
    )
    assert [tick.side for tick in run.ticks[:2]] == [-1, 1]
    assert any("live_trades_ethusd" in message for message in venue.received)
    assert tick.instrument.quote == "USD"


@needs_ccxt
@pytest.mark.scenario("S3")
def test_a_drop_behind_ccxt_is_a_reconnect_and_a_gap():
    with LocalVenue(frames(20), [[Send(10), Drop()], [Skip(2), Send()]], pages=PAGES) as venue:
        run = LiveRun(source(venue.url)).until_ticks(18)
    assert [ref for ref in run.ids if ref <= 10] == list(range(1, 11))
    assert set(run.unique_ids) == {*range(1, 11), *range(13, 21)}
    [gap] = run.gaps
    assert (gap.from_id, gap.to_id, gap.missing) == ("10", "13", None)


@needs_ccxt
@pytest.mark.scenario("S4")
def test_an_unreachable_exchange_ends_the_session():
    run = LiveRun(source(f"ws://127.0.0.1:{closed_port()}"), max_failures=2).until(lambda _: False)
    assert isinstance(run.error, NetworkError)
    assert "BITSTAMP: 2 failures" in str(run.error)


@needs_ccxt
def test_a_plain_connection_to_another_machine_is_refused():
    run = LiveRun(source("ws://venue.example"), max_failures=1).until(lambda _: False)
    assert "plain connection" in str(run.error)


@needs_ccxt
def test_an_unknown_ccxt_exchange_is_a_config_error():
    with pytest.raises(ConfigError, match=r"ccxt\.pro"):
        LiveRun({"venue": "ccxt", "exchange": "mtgox", "symbols": ["BTC/USD"]})


@pytest.mark.skipif(HAVE_CCXT, reason="the extra `ccxt` is installed")
def test_error_without_ccxt_names_the_package():
    with pytest.raises(ConfigError, match="extra `ccxt`"):
        LiveRun({"venue": "ccxt", "exchange": "bitstamp", "symbols": ["BTC/USD"]})
