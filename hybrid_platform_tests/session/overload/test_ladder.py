"""The throttle ladder by its clock alone, and which ticks pass (S15)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.ticks import TickBatch, batch_from_rows
from hybrid_platform.feeds.base import FeedBatch
from hybrid_platform.observability.counters import FeedCounters
from hybrid_platform.session.channel import Channel
from hybrid_platform.session.overload.ladder import LEVELS, LagBaseline, LevelChange, Load, LoadLimits, ThrottleLadder
from hybrid_platform.session.overload.sampling import Sampler
from hybrid_platform.session.stages.ingest import Ingest
from hybrid_platform.settings.runtime import OnFull, OverloadSettings
from hybrid_platform.testing import ListLog, TestClock

pytestmark = pytest.mark.scenario("S15")

SETTINGS = OverloadSettings(step_up_seconds=10, step_down_seconds=20, stop_seconds=60)


def climb(
    looks: Sequence[tuple[int, str]], settings: OverloadSettings = SETTINGS
) -> tuple[ThrottleLadder, list[LevelChange]]:
    """Poll a ladder once a second, for the given seconds each, with a load that is high, medium or low."""
    ladder, now, steps = ThrottleLadder(settings, 0), 0, []
    for seconds, load in looks:
        for _ in range(seconds):
            now += NS_PER_S
            step = ladder.observe(now, is_high=load == "high", is_low=load == "low")
            steps += [step] if step else []
    return ladder, steps


def test_a_lasting_load_climbs_level_by_level():
    ladder, steps = climb([(40, "high")])
    assert [(step.before, step.after, step.held_s) for step in steps] == [(1, 2, 10), (2, 5, 10), (5, 10, 10)]
    assert ladder.is_at_top and ladder.sample_every == 10
    assert ladder.seconds_at(45 * NS_PER_S) == {1: 11, 2: 10, 5: 10, 10: 14}


def test_a_short_load_changes_nothing():
    ladder, steps = climb([(9, "high"), (1, "between")] * 20)
    assert steps == [] and ladder.sample_every == 1


def test_between_the_limits_the_ladder_does_not_move():
    ladder, steps = climb([(25, "high"), (600, "between")])
    assert ladder.sample_every == 5 and len(steps) == 2


def test_the_ladder_recovers_slower_than_it_climbs():
    ladder, steps = climb([(40, "high"), (63, "low")])
    assert [step.after for step in steps] == [2, 5, 10, 5, 2, 1]
    assert [step.held_s for step in steps[3:]] == [20, 20, 20]
    assert ladder.sample_every == 1


def test_too_long_at_the_top_level_is_an_overload():
    assert climb([(90, "high")])[0].overloaded_s() is None
    assert climb([(91, "high")])[0].overloaded_s() == 60
    assert climb([(80, "high"), (1, "between"), (60, "high")])[0].overloaded_s() is None
    never = OverloadSettings(step_up_seconds=10, stop_seconds=None)
    assert climb([(5000, "high")], never)[0].overloaded_s() is None


@given(st.lists(st.tuples(st.integers(1, 40), st.sampled_from(["high", "between", "low"])), max_size=40))
def test_the_ladder_moves_one_level_at_a_time(looks):
    """For any load, the times at the levels add up to the whole time."""
    ladder, steps = climb(looks)
    levels = [1, *(step.after for step in steps)]
    assert [step.before for step in steps] == levels[:-1]
    assert all(abs(LEVELS.index(one) - LEVELS.index(other)) == 1 for one, other in pairwise(levels))
    assert sum(ladder.seconds_at(10**6 * NS_PER_S).values()) == 10**6
    assert all(step.held_s >= (10 if step.after > step.before else 20) for step in steps)
    if not any(load == "high" for _, load in looks):
        assert steps == []


def test_limits_describe_the_figures_above_them():
    """A limit that is switched off is never exceeded."""
    limits = LoadLimits(60, 80, None, 0.5)
    assert limits.describe_high(Load(59.9, 79, 10**9)) == ""
    assert limits.describe_high(Load(61, 80, 0)) == "CPU pressure 61 %, limit 60 %; queue 80 %, limit 80 %"
    assert limits.is_low(Load(29, 39, 10**9)) and not limits.is_low(Load(30, 0, 0))
    assert LoadLimits(None, None, None, 0.5).is_low(Load(100, 100, 10**9))


def test_a_stepped_clock_is_not_a_backlog():
    """A backlog grows by at most a second per second."""
    backlog = LagBaseline()
    lags = [(0, 50), (1, 60), (2, 900), (3, 1900), (4, 60)]
    assert [backlog.observe(at * NS_PER_S, lag * NS_PER_MS) for at, lag in lags] == [0, 10, 850, 1850, 10]
    hour = 3_600_000
    stepped = [(5, hour + 60), (6, hour + 1060), (7, 70 - hour), (8, 70)]
    assert [backlog.observe(at * NS_PER_S, lag * NS_PER_MS) for at, lag in stepped] == [10, 1010, 0, 0]


# Which ticks pass


def batch(prints: Sequence[tuple[int, int]]) -> TickBatch:
    """Return ticks of ``(instrument, trade id)``."""
    table = InstrumentTable()
    for index in range(3):
        table.intern("TEST", f"S{index}")
    return batch_from_rows(table, [(index, 1, 1, 0, ref, NS_PER_S, NS_PER_S) for index, ref in prints])


def refs(ticks: TickBatch) -> list[int]:
    return [row[5] for row in ticks.rows()]


def test_without_throttling_the_same_batch_is_returned():
    sampler, ticks = Sampler(), batch([(0, n) for n in range(9)])
    assert sampler.pick(ticks) is ticks
    assert not sampler.sampled_out


def test_each_instrument_passes_its_first_and_every_nth_tick():
    sampler = Sampler()
    sampler.every = 5
    picked = sampler.pick(batch([(n % 2, n) for n in range(24)]))
    assert refs(picked) == [0, 1, 10, 11, 20, 21], "none starves by its place in a pattern"
    assert sampler.sampled_out == {5: 18}


def test_after_a_step_each_instrument_passes_its_next_tick():
    sampler = Sampler()
    for every, first, expected in ((5, 0, [0, 1, 10, 11]), (2, 12, [12, 13, 16, 17, 20, 21]), (10, 24, [24, 25])):
        sampler.every = every
        assert refs(sampler.pick(batch([(n % 2, n) for n in range(first, first + 12)]))) == expected
    sampler.every = 1
    assert len(sampler.pick(batch([(0, 1), (1, 2)]))) == 2


PRINTS = st.lists(st.integers(0, 2), min_size=1, max_size=300)


@given(PRINTS, st.sampled_from([2, 5, 10]), st.lists(st.integers(0, 300), max_size=8))
def test_sampling_does_not_depend_on_batch_boundaries(instruments, every, cuts):
    ticks = batch([(instrument, n) for n, instrument in enumerate(instruments)])
    seen: dict[int, int] = {}
    expected = []
    for n, instrument in enumerate(instruments):
        if seen.get(instrument, 0) % every == 0:
            expected.append(n)
        seen[instrument] = seen.get(instrument, 0) + 1
    sampler = Sampler()
    sampler.every = every
    edges = sorted({0, len(ticks), *(cut for cut in cuts if cut < len(ticks))})
    picked = [ref for start, end in pairwise(edges) for ref in refs(sampler.pick(ticks[start:end]))]
    assert picked == expected
    assert sampler.sampled_out[every] == len(ticks) - len(expected)


class Feed:
    """Plays batches, and steps the sampler before each."""

    name = "list"

    def __init__(self, batches: Sequence[tuple[int, FeedBatch]], sampler: Sampler) -> None:
        self._batches, self._sampler = batches, sampler

    def batches(self, stop: object) -> Iterator[FeedBatch]:
        for every, each in self._batches:
            self._sampler.every = every
            yield each

    def close(self) -> None:
        """Nothing is open."""


def ingested(batches: Sequence[tuple[int, FeedBatch]]) -> tuple[FeedCounters, list[TickBatch], Sampler]:
    counters, sampler, failures = FeedCounters(), Sampler(), []
    ticks, persist = (Channel(name, 10**6, OnFull.BLOCK) for name in ("tick", "persist"))
    stage = Ingest(
        Feed(batches, sampler),
        ticks,
        persist,
        sampler=sampler,
        counters=counters,
        stop=threading.Event(),
        clock=TestClock(),
        log=ListLog(),
        on_failure=lambda *told: failures.append(told),
    )
    stage.start()
    assert stage.join(60) and not failures
    sent = [message.batch for message in ticks.receive()] if ticks.stats().depth else []
    return counters, sent, sampler


@st.composite
def played(draw: st.DrawFn) -> tuple[int, FeedBatch]:
    """Return a level, and a batch with duplicates, history and bad rows among its ticks."""
    prints = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60)), max_size=40))
    bad, history = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    rejected = {"bad_price": bad} if bad else {}
    return draw(st.sampled_from(LEVELS)), FeedBatch(
        batch(prints), len(prints) + bad + history, rejected, history=history
    )


@pytest.mark.scenario("S6", "I3")
@given(st.lists(played(), max_size=12))
def test_sampling_accounts_for_every_tick(batches):
    """For any steps of the ladder, the numbers of the ticks that pass have no gap."""
    counters, sent, sampler = ingested(batches)
    assert counters.balances
    parts = counters.accepted + counters.rejected + counters.duplicate + counters.sampled_out + counters.history
    assert counters.received == parts == sum(each.received for _, each in batches)
    assert counters.sampled_out == sum(sampler.sampled_out.values())
    numbers = [row[0] for ticks in sent for row in ticks.rows()]
    assert numbers == list(range(1, counters.accepted + 1)), "what is sampled out gets no number"
    different = {(row[1], row[5]) for _, each in batches for row in each.ticks.rows()}
    assert counters.accepted + counters.sampled_out == len(different), (
        "the id of a tick that was sampled out is remembered"
    )
