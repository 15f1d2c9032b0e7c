"""Every frame gives ticks or is counted (S5)."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.feeds.websocket.gaps import GapNumbers, GapTracker
from hybrid_platform.feeds.websocket.reader import MAX_KINDS, FrameReader
from hybrid_platform.feeds.websocket.venues import create_venue
from hybrid_platform_tests.feeds.websocket.samples import FORMS, HISTORY, OTHERS, TRADES, frame_format

RECEIVED = 1_700_000_001_000_000_000


def make_reader(name: str, table: InstrumentTable | None = None, **options) -> FrameReader:
    venue = create_venue(frame_format(name))
    gaps = GapTracker(venue.label, contiguous=venue.contiguous, numbers=GapNumbers())
    return FrameReader(venue, InstrumentTable() if table is None else table, gaps, **options)


def test_a_trade_becomes_a_tick_with_both_times():
    reader = make_reader("binance")
    assert reader.read(TRADES["binance"], RECEIVED).has_trades
    [batch] = reader.drain()
    tick = batch.ticks.tick(0)
    assert (tick.venue, tick.symbol, str(tick.price), str(tick.size)) == (
        "BINANCE",
        "ETHUSDT",
        "2000.100000000",
        "0.500000000",
    )
    assert (tick.side, tick.trade_id, tick.seq) == (-1, "901", 0)
    assert (tick.ts_event, tick.ts_recv) == (1_700_000_000_123_000_000, RECEIVED)
    assert tick.instrument.quote == "USDT"
    assert reader.drain() == []


def test_a_frame_without_a_receive_time_takes_the_event_time():
    reader = make_reader("binance")
    reader.read(TRADES["binance"], 0)
    [batch] = reader.drain()
    assert batch.ticks.ts_recv[0] == batch.ticks.ts_event[0]
    assert len(reader.lag) == 0


def test_a_symbol_without_a_subscription_is_ignored():
    reader = make_reader("binance", symbols=["btcusdt"])
    reader.read(TRADES["binance"], RECEIVED)
    [batch] = reader.drain()
    assert (len(batch.ticks), batch.received, batch.ignored) == (0, 0, {"foreign_symbol": 1})


@pytest.mark.parametrize(
    "symbol", ["'; DROP TABLE", "<img onerror=x>", "ＢＴＣ", "A" * 40, "=HYPERLINK(1)", "\\u202e", ""]
)
def test_an_invalid_symbol_is_rejected(symbol):
    reader = make_reader("binance")
    reader.read(TRADES["binance"].replace("ETHUSDT", symbol), RECEIVED)
    [batch] = reader.drain()
    assert (len(batch.ticks), batch.rejected) == (0, {"bad_symbol": 1})


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ('"2000.10000000"', '"0.0000000001"', "price_does_not_fit"),
        ('"2000.10000000"', '"99999999999"', "price_does_not_fit"),
        ('"0.50000000"', '"0.00000000001"', "size_does_not_fit"),
        ('"0.50000000"', f'"{2**63}"', "size_does_not_fit"),
    ],
)
def test_a_number_that_does_not_fit_is_rejected(old, new, cause):
    reader = make_reader("binance")
    reader.read(TRADES["binance"].replace(old, new), RECEIVED)
    [batch] = reader.drain()
    assert batch.rejected == {cause: 1}
    assert batch.samples[0].cause == cause


def test_gemini_keeps_ten_decimals_of_bitcoin():
    reader = make_reader("gemini_v2")
    reader.read(TRADES["gemini_v2"].replace("ETHUSD", "BTCUSD").replace('"0.5"', '"0.1437398746"'), RECEIVED)
    [batch] = reader.drain()
    assert str(batch.ticks.tick(0).size) == "0.1437398746"


def test_a_configured_instrument_is_unchanged():
    stated = Instrument("BINANCE", "ETHUSDT", base="ETH", quote="USD", price_scale=2, inferred=False)
    reader = make_reader("binance", InstrumentTable({stated.key: stated}))
    reader.read(TRADES["binance"], RECEIVED)
    [batch] = reader.drain()
    assert batch.ticks.tick(0).instrument == stated
    assert batch.ticks.price[0] == 200_010


def test_an_unknown_quote_is_not_dollars():
    reader = make_reader("binance")
    reader.read(TRADES["binance"].replace("ETHUSDT", "WHAT"), RECEIVED)
    [batch] = reader.drain()
    assert batch.ticks.tick(0).instrument.quote == "UNKNOWN"


def test_a_batch_holds_ids_of_one_type():
    reader = make_reader("coinbase_exchange")
    frame = TRADES["coinbase_exchange"]
    for ref in ("701", str(2**63), "703", "704"):
        reader.read(frame.replace("701", ref), RECEIVED)
    batches = reader.drain()
    assert [batch.ticks.trade_ref.tolist() for batch in batches] == [[701], [str(2**63)], [703, 704]]
    assert batches[0].ticks.trade_ref.dtype == np.int64


def test_a_binary_frame_is_rejected_even_if_it_is_json():
    reader = make_reader("binance")
    reader.read(TRADES["binance"].encode(), RECEIVED, binary=True)
    [batch] = reader.drain()
    assert (len(batch.ticks), batch.received, batch.rejected) == (0, 1, {"binary_frame": 1})


def test_kinds_of_ignored_frames_are_bounded():
    reader = make_reader("binance")
    for n in range(5 * MAX_KINDS):
        reader.read(f'{{"e":"kind{n}\\u0001"}}', RECEIVED)
    assert len(reader.ignored) == MAX_KINDS + 1
    assert sum(reader.ignored.values()) == 5 * MAX_KINDS
    assert all(kind.isascii() and kind.isprintable() for kind in reader.ignored)


def test_one_sample_of_each_cause_is_kept():
    reader = make_reader("binance")
    for frame in ("{", "{", "null", "null"):
        reader.read(frame, RECEIVED)
    [batch] = reader.drain()
    assert [rejection.cause for rejection in batch.samples] == ["bad_json", "bad_message"]
    assert batch.samples[0].where == "binance frame 1"


def test_lag_is_measured():
    reader = make_reader("binance")
    for _ in range(30):
        reader.read(TRADES["binance"], RECEIVED)
    assert reader.lag.median_ns == RECEIVED - 1_700_000_000_123_000_000


FRAMES = st.sampled_from(sorted(FORMS)).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.lists(
            st.sampled_from(
                [(TRADES[name], "trade"), *((frame, "ignored") for frame, _ in OTHERS[name])]
                + ([(HISTORY[name][0], "history")] if name in HISTORY else [])
                + [("{", "rejected"), (TRADES[name].replace("00", "x", 1), "any"), (TRADES[name][:-3], "any")]
            ),
            max_size=40,
        ),
        st.sets(st.integers(0, 40)),
    )
)


@pytest.mark.scenario("S5")
@settings(deadline=None)
@given(FRAMES)
def test_every_frame_is_accounted_for(case):
    """Whenever the reader is drained."""
    name, frames, takes = case
    reader = make_reader(name)
    batches = []
    for n, (frame, _) in enumerate(frames):
        reader.read(frame, RECEIVED)
        if n in takes:
            batches += reader.drain()
    batches += reader.drain()
    for batch in batches:
        assert batch.received == len(batch.ticks) + sum(batch.rejected.values()) + batch.history
        assert len(batch.samples) <= len(batch.rejected)
    wanted = Counter(kind for _, kind in frames)
    ticks = sum(len(batch.ticks) for batch in batches)
    rejected = sum(sum(batch.rejected.values()) for batch in batches)
    ignored = sum(sum(batch.ignored.values()) for batch in batches)
    per_history = HISTORY.get(name, ("", 1))[1]
    assert wanted["trade"] <= ticks <= wanted["trade"] + wanted["any"]
    assert sum(batch.history for batch in batches) == wanted["history"] * per_history
    assert wanted["ignored"] <= ignored <= wanted["ignored"] + wanted["any"]
    assert ticks + rejected + ignored + wanted["history"] == len(frames)
