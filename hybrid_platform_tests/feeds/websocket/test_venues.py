"""Each venue's decoder with frames in its own format: values, sides, history, ignored frames, refusals."""

# ruff: noqa: E501 (a frame is one line)

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest

from hybrid_platform.feeds.websocket import venues
from hybrid_platform.feeds.websocket.venue import Decoded
from hybrid_platform.feeds.websocket.venues import create_venue, load_venue_class
from hybrid_platform.settings.websocket import VenueName
from hybrid_platform_tests.feeds.websocket.samples import (
    FORMS,
    HISTORY,
    OTHERS,
    REFUSALS,
    SYMBOLS,
    TRADES,
    frame_format,
)

NAMES = sorted(FORMS)


def decode(name: str, frame: str | bytes, **changes: object) -> Decoded:
    return create_venue(frame_format(name, **changes)).decode(frame)


def test_every_venue_has_a_module_and_samples():
    """The settings hold the only list of venues; each name in it is a module with one class of that name."""
    names = sorted(get_args(VenueName))
    assert names == NAMES == sorted(TRADES)
    assert [load_venue_class(name).name for name in names] == names
    folder = Path(venues.__file__).parent
    assert names == sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


@pytest.mark.scenario("S2")
@pytest.mark.parametrize("name", NAMES)
def test_one_trade_means_the_same_at_every_venue(name):
    for frame in (TRADES[name], TRADES[name].encode()):
        decoded = decode(name, frame)
        [trade] = decoded.trades
        assert (trade.price, trade.size) == (Decimal("2000.1"), Decimal("0.5"))
        assert trade.ts_event == 1_700_000_000_123_000_000
        assert trade.side == -1, "the aggressor sold"
        assert trade.symbol == SYMBOLS[name]
        assert trade.ref is not None
        assert decoded._replace(trades=(), sequence=None) == Decoded()


@pytest.mark.parametrize("name", NAMES)
def test_frames_without_trades_are_ignored_by_kind(name):
    for frame, kind in OTHERS[name]:
        assert decode(name, frame)._replace(sequence=None) == Decoded(ignored=kind), frame


@pytest.mark.parametrize("name", sorted(HISTORY))
def test_trades_from_before_the_subscription_are_history(name):
    frame, count = HISTORY[name]
    assert decode(name, frame)._replace(sequence=None) == Decoded(history=count)


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_a_refusal_gives_the_venues_reason(name):
    frame, words = REFUSALS[name]
    decoded = decode(name, frame)
    assert words in decoded.close_reason
    assert decoded.ignored
    assert not decoded.trades


@pytest.mark.parametrize("name", [name for name in NAMES if name != "binance"])
def test_the_opposite_side_is_recognised(name):
    flips = {"bitstamp": ('"type":1', '"type":0'), "generic": ('"maker_bought":true', '"maker_bought":false')}
    old, new = flips.get(name, ('"sell"', '"buy"') if '"sell"' in TRADES[name] else ('"BUY"', '"SELL"'))
    if name == "bybit_v5":
        old, new = '"Sell"', '"Buy"'
    if name == "coinbase_exchange":
        old, new = '"buy"', '"sell"'
    assert old in TRADES[name]
    assert decode(name, TRADES[name].replace(old, new)).trades[0].side == 1


def test_binance_buyer_maker_means_seller_aggressor():
    assert decode("binance", TRADES["binance"].replace('"m":true', '"m":false')).trades[0].side == 1


@pytest.mark.parametrize(("side", "aggressor"), [("BUY", -1), ("SELL", 1)])
def test_coinbase_gives_the_makers_side(side, aggressor):
    assert (
        decode("coinbase_advanced", TRADES["coinbase_advanced"].replace('"BUY"', f'"{side}"')).trades[0].side
        == aggressor
    )
    exchange = TRADES["coinbase_exchange"].replace('"side":"buy"', f'"side":"{side.lower()}"')
    assert decode("coinbase_exchange", exchange).trades[0].side == aggressor


@pytest.mark.parametrize("name", ["gemini_v2", "kraken_v2", "okx_v5", "bybit_v5", "ccxt"])
def test_an_unknown_side_keeps_the_tick(name):
    frame = TRADES[name].replace('"sell"', '"auction"').replace('"Sell"', '"auction"')
    assert decode(name, frame).trades[0].side == 0


def test_binance_aggregate_trades_carry_their_own_ids():
    frame = '{"stream":"x@aggTrade","data":{"e":"aggTrade","E":2,"s":"DOTUSDT","a":66,"p":"1.5","q":"2","f":70,"l":74,"T":1700000000001,"m":false,"M":true}}'
    assert decode("binance", frame).trades[0].ref == 66
    assert decode("binance", frame, stream="trade") == Decoded(ignored="aggTrade")
    assert decode("binance", TRADES["binance"], stream="aggTrade") == Decoded(ignored="trade")


def test_binance_events_without_an_envelope_are_read_too():
    raw = '{"e":"trade","E":2,"s":"DOTUSDT","t":66,"p":"1.5","q":"2","T":1700000000001,"m":false}'
    assert decode("binance", raw).trades[0].symbol == "DOTUSDT"


@pytest.mark.parametrize("kind", ["INSURANCE_FUND", "ADL", "NA"])
def test_binance_non_market_trades_are_left_out(kind):
    """Their ids are recorded, so that they are not gaps."""
    frame = f'{{"data":{{"e":"trade","E":2,"T":1,"s":"BTCUSDT","t":67,"p":"0","q":"0","X":"{kind}","m":false}}}}'
    assert decode("binance", frame, market="usdm") == Decoded(ignored=f"trade:{kind}", skipped=(("BTCUSDT", 67),))


def test_newest_first_lists_are_reversed():
    trades = ",".join(
        f'{{"product_id":"ETH-USD","trade_id":"{n}","price":"1","size":"1","time":"2023-11-14T22:13:20.{ms}Z","side":"BUY"}}'
        for n, ms in ((9, "300"), (8, "200"), (7, "200"), (6, "100"))
    )
    frame = f'{{"channel":"market_trades","sequence_num":7,"events":[{{"type":"update","trades":[{trades}]}}]}}'
    decoded = decode("coinbase_advanced", frame)
    assert [trade.ref for trade in decoded.trades] == [6, 7, 8, 9], "those of one instant as they were matched"
    assert decoded.sequence == 7


def test_trades_of_one_millisecond_keep_their_order():
    item = '{{"symbol":"ETH/USD","side":"buy","price":1,"qty":1,"trade_id":{},"timestamp":"2023-11-14T22:13:20.{}Z"}}'
    items = ",".join(item.format(n, ms) for n, ms in ((5, "2"), (3, "2"), (4, "2"), (2, "1")))
    decoded = decode("kraken_v2", f'{{"channel":"trade","type":"update","data":[{items}]}}')
    assert [trade.ref for trade in decoded.trades] == [2, 5, 3, 4]


def test_a_message_may_hold_a_snapshot_and_an_update():
    update = TRADES["coinbase_advanced"]
    event = update[update.index('{"type"') : update.rindex("]")]
    both = update.replace(event, event.replace('"update"', '"snapshot"') + "," + event)
    assert decode("coinbase_advanced", both).history == 1
    assert len(decode("coinbase_advanced", both).trades) == 1


def test_okx_counts_the_fills_of_one_entry():
    assert decode("okx_v5", TRADES["okx_v5"]).trades[0].span == 3
    assert decode("okx_v5", TRADES["okx_v5"].replace(',"count":"3"', "")).trades[0].span == 1
    assert decode("okx_v5", TRADES["okx_v5"].replace('"3"', '"0"')).rejected[0][0] == "bad_count"


@pytest.mark.scenario("S5")
@pytest.mark.parametrize("name", ["bybit_v5", "ccxt", "coinbase_advanced", "generic", "kraken_v2", "okx_v5"])
def test_a_bad_trade_is_rejected_alone(name):
    frame = TRADES[name]
    start = frame.index("[{", frame.index('"trades":') if name == "coinbase_advanced" else 0) + 1
    end = frame.index("}]", start) + 1
    item = frame[start:end]
    three = frame[:start] + ",".join([item, item.replace("2000.1", "-2000.1"), "7", item]) + frame[end:]
    decoded = decode(name, three)
    assert len(decoded.trades) == 2
    assert sorted(cause for cause, _ in decoded.rejected) == ["bad_message", "bad_price"] or name == "generic"
    assert len(decoded.rejected) == 2


@pytest.mark.scenario("S5")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("2000.1", "NaN", "bad_price"),
        ("2000.1", "1_000", "bad_price"),
        ("2000.1", "٢٠٠٠", "bad_price"),
        ("2000.1", "0", "bad_price"),
        ("2000.1", "-0.0", "bad_price"),
        ("2000.1", "1e999", "bad_price"),
        ("2000.1", "9" * 5000, "bad_price"),
        ("0.5", "-0.5", "bad_size"),
        ("0.5", "Infinity", "bad_size"),
    ],
)
def test_bad_prices_and_sizes_are_rejected_by_cause(name, old, new, cause):
    frame = (
        TRADES[name]
        .replace('"2000.10000000"', '"2000.1"')
        .replace("2000.10,", '"2000.1",')
        .replace("2000.10", "2000.1")
    )
    frame = frame.replace("5E-1", '"0.5"').replace("0.50000000", "0.5").replace('"qty":0.5', '"qty":"0.5"')
    if name == "bitstamp":
        frame = frame.replace('"price":2000.1', '"price":1').replace('"amount":0.5', '"amount":1')
    assert frame.count(f'"{old}"') == 1
    decoded = decode(name, frame.replace(f'"{old}"', f'"{new}"'))
    assert not decoded.trades
    [(named, sample)] = decoded.rejected
    assert named == cause
    assert len(sample) <= 200
    assert sample.isprintable()
    assert sample.isascii() or sample.endswith("…")


@pytest.mark.scenario("S5")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("frame", "cause"),
    [
        ("", {"bad_json"}),
        ("{", {"bad_json", "bad_message"}),
        ('"text"', {"bad_message"}),
        ("NaN", {"bad_json"}),
        ("[" * 100_000, {"bad_json", "bad_message"}),
        ('{"a":' * 100_000, {"bad_json", "bad_message"}),
        (b"\xff\xfe\x00", {"bad_json", "bad_utf8"}),
        (b"\xef\xbb\xbf{}", {"bad_json"}),
        ("\ud800", {"bad_utf8"}),
    ],
)
def test_a_malformed_message_is_rejected(name, frame, cause):
    decoded = decode(name, frame)
    if name == "generic" and frame == '"text"':
        assert decoded == Decoded(ignored="other")
        return
    assert not decoded.trades
    assert decoded.rejected[0][0] in cause


@pytest.mark.parametrize("name", NAMES)
def test_subscriptions_name_every_symbol(name):
    venue = create_venue(frame_format(name))
    symbols = [SYMBOLS[name], SYMBOLS[name].replace("ETH", "BTC").replace("eth", "btc")]
    asked, undone = " ".join(venue.subscribe(symbols)), " ".join(venue.unsubscribe(symbols))
    if name == "ccxt":
        assert (asked, undone) == ("", "")
        return
    for symbol in symbols:
        assert symbol.lower() in asked.lower()
        assert name == "generic" or symbol.lower() in undone.lower()


def test_binance_subscribes_to_the_documented_streams():
    assert "ethusdt@trade" in create_venue(frame_format("binance")).subscribe(["ETHUSDT"])[0]
    for market, host in (("usdm", "fstream"), ("coinm", "dstream")):
        venue = create_venue(frame_format("binance", market=market))
        assert "@aggTrade" in venue.subscribe(["x"])[0]
        assert host in venue.url
    assert "@trade" in create_venue(frame_format("binance", market="usdm", stream="trade")).subscribe(["x"])[0]


def test_every_native_venue_uses_tls_by_default():
    for name in NAMES:
        venue = create_venue(frame_format(name))
        assert venue.url.startswith("wss://") or name in {"generic", "ccxt"}
        assert venue.per_connection >= 1
        assert venue.per_message >= 1


def test_the_label_can_be_chosen():
    assert create_venue(frame_format("binance", market="coinm")).label == "BINANCE_COINM"
    assert create_venue(frame_format("binance", label="Binance-EU")).label == "BINANCE-EU"
    assert create_venue(frame_format("ccxt")).label == "BITMEX"


def test_the_generic_venue_reads_list_positions():
    """It also repeats a subscription message per symbol."""
    paths = {
        "subscribe": ['{"sub":"{symbol}"}'],
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
    }
    venue = create_venue(frame_format("generic", generic=paths, label="KRAKEN"))
    decoded = venue.decode(
        '[321,[["58721.2","0.5","1617666461.465618","s","m",""],["58722","1","1617666461.4","b"]],"trade","XBT/USD"]'
    )
    assert [(t.symbol, str(t.price), t.side, t.ts_event) for t in decoded.trades] == [
        ("XBT/USD", "58722", 1, 1_617_666_461_400_000_000),
        ("XBT/USD", "58721.2", -1, 1_617_666_461_465_618_000),
    ]
    assert venue.decode('{"event":"heartbeat"}') == Decoded(ignored="other")
    assert venue.subscribe(["A", "B"]) == ['{"sub":"A"}', '{"sub":"B"}']
