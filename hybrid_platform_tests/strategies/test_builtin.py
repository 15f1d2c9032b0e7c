"""The built-in strategies: their rules, their exactness, and on_batch compared with on_tick (S8)."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import Side
from hybrid_platform.domain.ticks import TickBatch, batch_from_rows
from hybrid_platform.settings.trading import StrategySettings
from hybrid_platform.strategies.base import Strategy
from hybrid_platform.strategies.loader import build_strategy

CENT = 10**7


def make_batch(prices: list[int], instruments: list[int] | None = None) -> TickBatch:
    table = InstrumentTable()
    for index in range(max(instruments or [0]) + 1):
        table.intern("TEST", f"S{index}")
    rows = [
        (instrument, price, 10**9, 0, None, 1000 + i, 1000 + i)
        for i, (price, instrument) in enumerate(zip(prices, instruments or [0] * len(prices), strict=True))
    ]
    return batch_from_rows(table, rows).with_seq_from(1)


def sides(strategy: Strategy, batch: TickBatch, cuts: list[int]) -> list[tuple[int, Side]]:
    edges = [0, *sorted(cut % (len(batch) + 1) for cut in cuts), len(batch)]
    return [
        (signal.seq, signal.side) for start, end in pairwise(edges) for signal in strategy.on_batch(batch[start:end])
    ]


def tick_by_tick(strategy: Strategy, batch: TickBatch) -> list[tuple[int, Side]]:
    signals = [strategy.on_tick(tick) for tick in batch.ticks()]
    return [(signal.seq, signal.side) for signal in signals if signal is not None]


def crossings_by_definition(prices: list[int], short: int, long: int) -> list[tuple[int, Side]]:
    """Return the crossings in exact fractions, window by window."""
    found, previous = [], None
    for i in range(long, len(prices) + 1):
        diff = Fraction(sum(prices[i - short : i]), short) - Fraction(sum(prices[i - long : i]), long)
        if previous is not None and previous <= 0 < diff:
            found.append((i, Side.BUY))
        elif previous is not None and previous >= 0 > diff:
            found.append((i, Side.SELL))
        previous = diff
    return found


few_prices = st.lists(st.integers(1, 6).map(lambda n: n * CENT), max_size=200)


@pytest.mark.scenario("S8")
@given(few_prices, st.integers(1, 6), st.integers(1, 12), st.lists(st.integers(0, 200), max_size=6))
def test_sma_crossover_follows_its_definition(prices, short, more, cuts):
    """Tick by tick and in batches, however cut, the signals are those of exact fractions."""
    settings = StrategySettings(name="sma_crossover", params={"short": short, "long": short + more})
    expected = crossings_by_definition(prices, short, short + more)
    batch = make_batch(prices)
    assert tick_by_tick(build_strategy(settings), batch) == expected
    assert sides(build_strategy(settings), batch, cuts) == expected


@pytest.mark.scenario("S8")
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2)), max_size=150), st.lists(st.integers(0, 150), max_size=5)
)
def test_sma_crossover_keeps_windows_per_instrument(ticks, cuts):
    settings = StrategySettings(name="sma_crossover", params={"short": 2, "long": 5})
    batch = make_batch([price * CENT for price, _ in ticks], [instrument for _, instrument in ticks])
    expected = []
    for index in range(3):
        seqs = [i + 1 for i, (_, instrument) in enumerate(ticks) if instrument == index]
        own = crossings_by_definition([price * CENT for price, instrument in ticks if instrument == index], 2, 5)
        expected += [(seqs[i - 1], side) for i, side in own]
    assert sides(build_strategy(settings), batch, cuts) == sorted(expected)


@pytest.mark.scenario("S8")
def test_sma_crossover_is_exact_beyond_64_bits():
    """Sums that exceed 64 bits are compared exactly."""
    prices = [9_000_000_000_000_000_000 - (i * 7919) % 13 for i in range(300)]
    strategy = build_strategy(StrategySettings(name="sma_crossover"))
    assert sides(strategy, make_batch(prices), [100]) == crossings_by_definition(prices, 5, 20)


@pytest.mark.scenario("S8")
def test_sma_crossover_is_exact_after_huge_prices():
    """Huge prices that are still in the window count for the choice between columns and single ticks."""
    prices = [9_000_000_000_000_000_000 - i for i in range(60)] + [CENT + (i * 7919) % 13 for i in range(100)]
    for cut in (60, 62, 70, 79):
        strategy = build_strategy(StrategySettings(name="sma_crossover"))
        assert sides(strategy, make_batch(prices), [cut]) == crossings_by_definition(prices, 5, 20)


@pytest.mark.scenario("S8")
@given(st.integers(0, 300), st.integers(1, 30), st.lists(st.integers(0, 300), max_size=6))
def test_periodic_alternates_at_every_nth_tick(n, every, cuts):
    settings = StrategySettings(name="periodic", params={"every": every})
    expected = [(k * every, Side.BUY if k % 2 else Side.SELL) for k in range(1, n // every + 1)]
    batch = make_batch([CENT] * n)
    assert sides(build_strategy(settings), batch, cuts) == expected
    assert tick_by_tick(build_strategy(settings), batch) == expected


def test_a_signal_has_size_confidence_reason_and_price():
    (signal,) = build_strategy(StrategySettings()).on_batch(make_batch([100 * 10**9] * 10))
    assert (str(signal.size), signal.confidence, signal.reason) == ("0.1", 0.75, "PERIODIC_TRIGGER")
    assert (signal.seq, str(signal.reference_price), signal.instrument.symbol) == (10, "100.000000000", "S0")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "nonsense"}, ["strategy.name", "periodic", "sma_crossover", "'nonsense'"]),
        ({"name": "no.such.module:Thing"}, ["strategy.name", "no.such.module"]),
        ({"name": "hybrid_platform.settings.session:Mode"}, ["strategy.name", "subclass"]),
        ({"name": "periodic", "params": {"evry": 3}}, ["strategy.params.evry", "every"]),
        (
            {"name": "periodic", "params": {"every": 0}},
            ["strategy.params.every", "greater than or equal to 1", "got 0"],
        ),
        ({"name": "sma_crossover", "params": {"short": 9, "long": 9}}, ["`short` below `long`"]),
        ({"name": "sma_crossover", "params": {"size": "1_0"}}, ["strategy.params.size", "'1_0'"]),
    ],
)
def test_a_wrong_strategy_is_one_clear_message(settings, words):
    with pytest.raises(ConfigError) as caught:
        build_strategy(StrategySettings(**settings))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.scenario("S8")
def test_the_crossover_fixture_gives_its_known_signals(recorded_data):
    lines = (recorded_data / "fixtures" / "crossover_scenario.jsonl").read_text().splitlines()
    prices = [round(json.loads(line)["price"] * 10**9) for line in lines]
    found = sides(build_strategy(StrategySettings(name="sma_crossover")), make_batch(prices), [])
    assert found == [(21, Side.BUY), (38, Side.SELL)]
