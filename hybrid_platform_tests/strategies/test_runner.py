"""The strategy runner: ids and times of signals, holes, timers, warm start, and wrong signals (S8, L4)."""

from __future__ import annotations

import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.errors import StrategyError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import InputKind
from hybrid_platform.domain.ticks import TickBatch, batch_from_rows
from hybrid_platform.strategies import Params, Signal, Strategy, Tick, buy, sell
from hybrid_platform.strategies.runner import StrategyRunner


class Everything(Strategy[Params]):
    """Two signals at every third tick, one at every timer."""

    timer_seconds = 1.0

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.last: Tick | None = None

    def on_tick(self, tick: Tick) -> list[Signal]:
        self.last = tick
        return [buy(tick, 1, "A"), sell(tick, "0.5", "B")] if tick.seq % 3 == 0 else []

    def on_timer(self, now: int) -> Signal | None:
        return None if self.last is None else buy(self.last, 2, "TIMER")


def ticks(times: list[int]) -> TickBatch:
    table = InstrumentTable()
    table.intern("TEST", "X")
    return batch_from_rows(table, [(0, 10**9, 1, 0, None, t, t) for t in times]).with_seq_from(1)


def run(runner: StrategyRunner, batches: list[TickBatch]) -> tuple[list, list]:
    steps = [step for batch in batches for step in runner.on_batch(batch)]
    signals = [(s.signal_id, s.seq, s.reason, s.ts) for step in steps for s in step.signals]
    inputs = [(r.kind, r.after_seq, r.ts, r.detail) for step in steps for r in step.inputs]
    return signals, inputs


times_in_order = st.lists(st.integers(0, NS_PER_S), max_size=60).map(
    lambda gaps: [10 * NS_PER_S + sum(gaps[: i + 1]) for i in range(len(gaps))]
)


@pytest.mark.scenario("S8")
@given(times_in_order, st.lists(st.integers(0, 60), max_size=5), st.sets(st.integers(0, 59), max_size=20))
def test_steps_do_not_depend_on_batch_cuts(times, cuts, lost):
    """Signals, timers and holes are equal however ticks are cut into batches."""
    batch = ticks(times)
    kept = batch[[i for i in range(len(times)) if i not in lost]] if times else batch
    whole = run(StrategyRunner(Everything(Params()), kept.table), [kept])
    edges = [0, *sorted(cut % (len(kept) + 1) for cut in cuts), len(kept)]
    pieces = [kept[a:b] for a, b in pairwise(edges)]
    assert run(StrategyRunner(Everything(Params()), kept.table), pieces) == whole


@pytest.mark.scenario("S8")
def test_a_hole_is_journalled_with_its_first_and_last_seq():
    batch = ticks([1, 2, 3, 4, 5, 6])
    _, inputs = run(StrategyRunner(Everything(Params()), batch.table), [batch[:2], batch[4:]])
    assert [(kind, after, json.loads(detail)) for kind, after, _, detail in inputs] == [
        (InputKind.DROP, 2, {"first": 3, "last": 4})
    ]


@pytest.mark.scenario("S8")
def test_a_hole_at_the_end_is_journalled_too():
    batch = ticks([1, 2, 3])
    runner = StrategyRunner(Everything(Params()), batch.table)
    list(runner.on_batch(batch[:2]))
    ((record,),) = [step.inputs for step in runner.on_end(3)]
    assert json.loads(record.detail) == {"first": 3, "last": 3}
    assert runner.on_end(2) == []


def test_signals_at_one_tick_get_different_ids():
    batch = ticks([1, 2, 3])
    signals, _ = run(StrategyRunner(Everything(Params()), batch.table), [batch])
    assert [signal[0] for signal in signals] == ["S3", "S3.2"]


def test_warm_start_ignores_signals():
    batch = ticks(list(range(1, 10)))
    signals, _ = run(StrategyRunner(Everything(Params()), batch.table, warm_start_ticks=6), [batch])
    assert [signal[1] for signal in signals] == [9, 9]


def test_timers_fire_in_a_silent_market():
    batch = ticks([10 * NS_PER_S])
    runner = StrategyRunner(Everything(Params()), batch.table)
    list(runner.on_batch(batch))
    assert runner.on_idle(10 * NS_PER_S + 5) == []
    (step,) = runner.on_idle(11 * NS_PER_S + 5)
    assert step.timer == 11 * NS_PER_S
    assert [signal.reason for signal in step.signals] == ["TIMER"]


class Raises(Strategy[Params]):
    def on_tick(self, tick: Tick) -> None:
        raise ZeroDivisionError("in the user's code")


class Nonsense(Strategy[Params]):
    def on_tick(self, tick: Tick) -> str:
        return "BUY"


class Elsewhere(Strategy[Params]):
    def on_batch(self, batch: TickBatch) -> list[Signal]:
        return [msgspec.structs.replace(buy(batch.tick(0), 1, "X"), seq=99)]


class Changed(Strategy[Params]):
    """Signals with some fields changed."""

    def __init__(self, change: dict) -> None:
        super().__init__(Params())
        self.change = change

    def on_tick(self, tick: Tick) -> Signal:
        return msgspec.structs.replace(buy(tick, 1, "X"), **self.change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reason": "\ud800"}, "a reason"),
        ({"reason": "a\nb"}, "a reason"),
        ({"reason": ""}, "a reason"),
        ({"reason": "x" * 201}, "a reason"),
        ({"confidence": float("nan")}, "a confidence"),
        ({"confidence": 1.5}, "a confidence"),
        ({"size": 0.1}, "a size"),
    ],
)
def test_a_signal_that_cannot_be_recorded_is_an_error(change, words):
    batch = ticks([1])
    with pytest.raises(StrategyError, match=words):
        list(StrategyRunner(Changed(change), batch.table).on_batch(batch))


class Late(Strategy[Params]):
    def on_tick(self, tick):
        if tick.seq == 4:
            raise ValueError("no idea")
        return buy(tick, 1, "EACH")


@pytest.mark.scenario("L4")
def test_signals_before_a_failure_are_kept():
    """A failing strategy does not withdraw the signals of earlier ticks."""
    batch = ticks([1, 2, 3, 4, 5])
    steps = []
    with pytest.raises(StrategyError, match="Late raised at tick 4: ValueError: no idea"):
        for step in StrategyRunner(Late(Params()), batch.table).on_batch(batch):
            steps.append(step)
    (step,) = steps
    assert [signal.signal_id for signal in step.signals] == ["S1", "S2", "S3"]
    assert step.ticks.seq.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (Raises, ["Raises", "ZeroDivisionError", "in the user's code", "test_runner.py"]),
        (Nonsense, ["Nonsense", "expected a Signal", "str"]),
        (Elsewhere, ["Elsewhere", "99"]),
    ],
)
def test_the_error_names_a_misbehaving_strategy(strategy, words):
    batch = ticks([1, 2])
    with pytest.raises(StrategyError) as caught:
        list(StrategyRunner(strategy(Params()), batch.table).on_batch(batch))
    for word in words:
        assert word in str(caught.value)
