"""Settings of live feeds: faults are reported before anything starts, as S14 requires."""

from __future__ import annotations

import pytest

from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.settings.loading import load_settings


def websocket(**feed):
    feed.setdefault("sources", [{"venue": "binance", "symbols": ["BTCUSDT"]}])
    return load_settings({"feed": {"websocket": feed}}, environ={})


def source(**changes):
    return websocket(sources=[{"venue": "binance", "symbols": ["BTCUSDT"]} | changes])


def test_a_venue_and_a_symbol_are_enough():
    settings = websocket()
    assert settings.feed.kind == "websocket"
    assert settings.is_live_feed
    assert settings.seconds is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"symbols": []}, "at least one symbol"),
        ({"symbols": ["A", "a"]}, "each symbol once"),
        ({"symbols": ["'; DROP TABLE"]}, "a symbol matching"),
        ({"venue": "mtgox"}, "'binance'"),
        ({"market": "inverse"}, "market"),
        ({"venue": "okx_v5", "stream": "trade"}, "`stream`"),
        ({"url": "http://x/"}, "ws://host"),
        ({"url": "wss://"}, "ws://host"),
        ({"url": "wss://user:pw@x/"}, "without credentials"),
        ({"url": "wss://x/\n"}, "ws://host"),
        ({"url": "wss://[x/"}, "ws://host"),
        ({"url": "ws://venue.example/"}, "`wss`"),
        ({"url": "ws://127.0.0.1.venue.example/"}, "`wss`"),
        ({"venue": "generic"}, "`generic`"),
        ({"venue": "ccxt"}, "`exchange`"),
        ({"exchange": "kraken"}, "`exchange`"),
        ({"options": {"a": 1}}, "`options`"),
        ({"sybmols": ["A"]}, "no such setting"),
    ],
)
def test_a_wrong_source_is_named(changes, words):
    with pytest.raises(ConfigError) as error:
        source(**changes)
    assert words in str(error.value)
    assert len(error.value.faults) == 1


@pytest.mark.parametrize(
    ("feed", "words"),
    [
        ({"sources": []}, "at least one of `sources`"),
        ({"backoff_seconds": 60}, "backoff_max_seconds"),
        ({"record_max_mb": 1}, "record_max_mb"),
        ({"max_failures": 0}, "greater than or equal to 1"),
        ({"stall_seconds": float("nan")}, "finite"),
    ],
)
def test_a_wrong_connection_is_named(feed, words):
    with pytest.raises(ConfigError, match=words):
        websocket(**feed)


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:1/", "ws://127.9.9.9/", "ws://[::1]:80/", "ws://localhost/x", "wss://venue.example/"]
)
def test_plain_websockets_reach_this_machine_only(url):
    assert source(url=url).feed.websocket.sources[0].url == url


def test_plain_websockets_elsewhere_must_be_allowed():
    feed = {"sources": [{"venue": "binance", "symbols": ["A"], "url": "ws://venue.example/"}], "allow_insecure": True}
    assert websocket(**feed).feed.websocket.allow_insecure


def test_recorded_frames_are_another_way_to_replay():
    replay = {"path": "x.rec.gz", "frames": {"venue": "binance"}}
    assert load_settings({"feed": {"replay": replay}}, environ={}).feed.replay.frames.venue == "binance"
    for wrong in ({"format": "lean"}, {"columns": {"ts": "t", "price": "p"}}):
        with pytest.raises(ConfigError, match="at most one"):
            load_settings({"feed": {"replay": replay | wrong}}, environ={})
    with pytest.raises(ConfigError, match="`path` with `frames`"):
        load_settings({"feed": {"replay": {"session": "s", "frames": {"venue": "binance"}}}}, environ={})
