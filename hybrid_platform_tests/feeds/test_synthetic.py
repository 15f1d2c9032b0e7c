"""The synthetic feed: determined by its seed, with an exact schedule."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.feeds.synthetic import RandomWalkFeed
from hybrid_platform.settings.feeds import SyntheticFeed
from hybrid_platform.settings.loading import load_settings
from hybrid_platform_tests.feeds.support import START_WALL_NS, ManualClock, ReplayResult, read


def synthetic(
    clock: Any = None, seconds: float | None = None, table: InstrumentTable | None = None, **feed: Any
) -> ReplayResult:
    table = InstrumentTable() if table is None else table
    loaded = load_settings({"seconds": seconds, "feed": {"synthetic": feed}}, environ={})
    assert loaded.feed.synthetic is not None
    made = RandomWalkFeed(loaded.feed.synthetic, table, clock or SystemClock(), loaded.seconds)
    made.open()
    return read(made, table, clock)


def walked(result: ReplayResult) -> list[tuple[Any, ...]]:
    """Return the part of the rows that depends on the seed alone."""
    return [row[:5] for row in result.rows]


@pytest.mark.scenario("G0")
def test_the_reference_run_has_61_ticks() -> None:
    result = synthetic(ManualClock(), seconds=30)
    assert result.count == 61
    assert [row[5] for row in result.rows] == [START_WALL_NS + k * 500_000_000 for k in range(61)]
    assert {row[6] for row in result.rows} == {0}, "ingest stamps the receive time"
    assert {(item.venue, item.symbol) for item in result.table} == {("SYNTHETIC", "SOL/USDC")}


def test_a_delayed_process_still_emits_every_due_tick() -> None:
    clock = ManualClock()
    feed = RandomWalkFeed(SyntheticFeed(), InstrumentTable(), clock, 30)
    feed.open()
    batches = feed.batches(clock)
    count = len(next(batches).ticks)
    clock.now_ns += 3_600_000_000_000
    rest = list(batches)
    assert count + sum(len(batch.ticks) for batch in rest) == 61
    assert int(rest[-1].ticks.ts_event[-1]) == START_WALL_NS + 30_000_000_000


@pytest.mark.scenario("S13")
def test_a_stop_emits_the_due_ticks_and_no_more() -> None:
    result = synthetic(ManualClock(stop_at_ns=2_600_000_000), seconds=30)
    assert result.count == 6  # 0, 0.5 … 2.5 s
    assert synthetic(ManualClock(stop_at_ns=0), seconds=30, ticks_per_second=1e6).count == 1


@pytest.mark.scenario("S8")
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    symbols=st.lists(st.sampled_from(["SOL/USDC", "BTC/USD", "ETH/USD", "X"]), min_size=1, max_size=4, unique=True),
    rate=st.sampled_from([1, 7.3, 100, 33_333.3]),
)
def test_prices_depend_on_the_seed_alone(seed: int, symbols: list[str], rate: float) -> None:
    """Neither the rate nor the batching changes them."""
    common: dict[str, Any] = {"seed": seed, "symbols": symbols, "ticks": 4_500}
    at_once = walked(synthetic(ticks_per_second="max", **common))
    paced = walked(synthetic(ManualClock(), ticks_per_second=rate, **common))
    assert at_once == paced
    assert len(at_once) == 4_500
    assert all(price > 0 and size > 0 and side in (-1, 1) for _, price, size, side, _ in at_once)
    assert {row[0] for row in at_once} == set(symbols)


def test_a_seed_gives_the_same_prices_in_every_release() -> None:
    result = synthetic(ticks_per_second="max", ticks=5, symbols=["A", "B"])
    assert walked(result) == PINNED
    assert walked(synthetic(ticks_per_second="max", ticks=5, symbols=["A", "B"], seed=8)) != PINNED


PINNED: list[tuple[Any, ...]] = [
    ("B", 99980000000, 9260000000, 1, None),
    ("B", 100010000000, 8390000000, -1, None),
    ("B", 100000000000, 8990000000, 1, None),
    ("A", 100020000000, 6350000000, 1, None),
    ("A", 100000000000, 6400000000, 1, None),
]


@settings(max_examples=20, deadline=None)
@given(rate=st.one_of(st.floats(0.001, 5_000), st.integers(1, 5_000)), seconds=st.floats(0.001, 0.5))
def test_the_last_due_tick_is_the_last_one(rate: float, seconds: float) -> None:
    result = synthetic(ManualClock(), seconds=seconds, ticks_per_second=rate)
    exact = Fraction(repr(float(rate)))
    last = int(exact * Fraction(repr(seconds)))
    assert [row[5] - START_WALL_NS for row in result.rows] == [ceil(k * 10**9 / exact) for k in range(last + 1)]


def test_prices_stay_in_their_band() -> None:
    """Even after many ticks, between half and twice the start price and on the increment."""
    result = synthetic(ticks_per_second="max", ticks=300_000, start_price="0.02")
    price = np.concatenate([batch.ticks.price for batch in result.batches])
    assert price.min() >= 10_000_000 and price.max() <= 40_000_000  # half and twice 0.02
    assert not (price % 10_000).any(), "on the increment of 0.00001"
    assert len(np.unique(price)) > 1_000


@pytest.mark.parametrize(
    ("start", "increment"), [("100", 10_000_000), ("100.005", 1_000_000), ("1000000", 10_000_000), ("0.5", 100_000)]
)
def test_the_increment_suits_the_start_price(start: str, increment: int) -> None:
    result = synthetic(ticks_per_second="max", ticks=1_000, start_price=start)
    price = np.concatenate([batch.ticks.price for batch in result.batches])
    assert not (price % increment).any()
    assert (price % (increment * 10)).any()


def test_stated_increments_and_scales_are_kept() -> None:
    stated = Instrument(
        "SYNTHETIC", "A", price_scale=4, size_scale=0, price_increment=Decimal("0.25"), size_increment=Decimal(5)
    )
    result = synthetic(ticks_per_second="max", ticks=2_000, symbols=["A"], table=InstrumentTable({stated.key: stated}))
    ticks = [tick for batch in result.batches for tick in batch.ticks.ticks()]
    assert all(tick.price % Decimal("0.25") == 0 and 50 <= tick.price <= 200 for tick in ticks)
    assert all(tick.size % 5 == 0 for tick in ticks)


def test_a_start_price_that_does_not_fit_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"feed\.synthetic\.start_price: expected at most 9 decimals"):
        synthetic(start_price="1e-12", ticks=1)


def test_max_ends_with_its_time() -> None:
    class Racing(ManualClock):
        def monotonic_ns(self) -> int:
            self.now_ns += 1_000_000
            return super().monotonic_ns()

    clock = Racing()
    result = synthetic(clock, seconds=0.05, ticks_per_second="max")
    assert 0 < result.count < 60 * 4_096
    events = [row[5] for row in result.rows]
    assert events == sorted(events)
