"""The strategy stage: batching, slow strategies, failures and a full signal channel (S6, S7, S8)."""

from __future__ import annotations

import time
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.errors import StrategyError
from hybrid_platform.domain.orders import buy
from hybrid_platform.session.channel import Channel, EndOfStream
from hybrid_platform.session.messages import MAX_COALESCED
from hybrid_platform.session.stages.strategy import LIVE_LIMIT, SLOW_NS, StrategyStage
from hybrid_platform.settings.runtime import OnFull
from hybrid_platform.strategies.base import Params, Strategy
from hybrid_platform.strategies.runner import StrategyRunner
from hybrid_platform_tests.session.ticks import single_table, tick_message
from hybrid_platform_tests.support import PROCESS_TIMEOUT_S


class Failing(Strategy[Params]):
    """A signal at each third tick, and a failure at one of them."""

    Params = Params
    fails_at = 7

    def on_tick(self, tick):
        if tick.seq == self.fails_at:
            raise RuntimeError("here")
        return buy(tick, Decimal("0.1"), "WHY") if tick.seq % 3 == 0 else None


@pytest.mark.scenario("S8")
@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(1, 20))
def test_a_failing_strategy_leaves_the_same_records(cuts, fails_at):
    """The records do not depend on how its ticks were batched."""
    table, first, steps = single_table(), 1, []
    strategy = Failing(Params())
    strategy.fails_at = fails_at
    runner = StrategyRunner(strategy, table)
    with suppress(StrategyError):
        for cut in cuts:
            for step in runner.on_batch(tick_message(table, first, [None] * cut).batch):
                steps.append(step)
            first += cut
    seen = [seq for step in steps for seq in step.ticks.seq.tolist()]
    last = min(fails_at, sum(cuts) + 1) - 1
    assert seen == list(range(1, last + 1))
    assert [signal.seq for step in steps for signal in step.signals] == [seq for seq in seen if seq % 3 == 0]


class Busy(Strategy[Params]):
    """A signal at every tick, after so much work."""

    Params = Params
    seconds = 0.0

    def on_tick(self, tick):
        time.sleep(self.seconds)
        return buy(tick, Decimal("0.1"), "WHY")


def a_stage(strategy: Strategy[Params], signals: Channel, ticks: int) -> tuple[StrategyStage, list[BaseException]]:
    table, source, errors = single_table(), Channel("tick", 256, OnFull.DROP_OLDEST), []
    for number in range(1, ticks + 1):
        source.send(tick_message(table, number, [None]))
    source.close()
    stage = StrategyStage(
        StrategyRunner(strategy, table),
        source,
        signals,
        last_seq=lambda: ticks,
        live=True,
        clock=SystemClock(),
        on_failure=lambda name, error: errors.append(error),
    )
    return stage, errors


@pytest.mark.scenario("S6")
def test_slow_execution_does_not_overload_the_signal_channel():
    signals = Channel("signal", 64, OnFull.FAIL)
    stage, errors = a_stage(Busy(Params()), signals, 200)
    stage.start()
    taken = 0
    with suppress(EndOfStream):
        while True:
            for message in signals.receive(4, PROCESS_TIMEOUT_S):
                taken += message.events
            time.sleep(0.002)
    assert (errors, taken) == ([], 200)
    assert signals.stats().max_depth <= 32 + MAX_COALESCED


@pytest.mark.scenario("S7")
def test_a_slow_strategys_signal_does_not_wait_for_later_ticks():
    slow = Busy(Params())
    slow.seconds = 2 * SLOW_NS / 1e9
    signals = Channel("signal", 200, OnFull.FAIL)
    stage, errors = a_stage(slow, signals, 2 * LIVE_LIMIT)
    stage.start()
    assert stage.join(PROCESS_TIMEOUT_S)
    sizes = [len(message.step.ticks) for message in signals.receive()]
    assert errors == []
    assert sizes == [MAX_COALESCED] * (LIVE_LIMIT // MAX_COALESCED) + [1] * LIVE_LIMIT, "once it is known to be slow"
