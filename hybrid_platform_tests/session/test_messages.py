"""Ticks that wait are worked on together, and acknowledged together; what they are, and their order, stays."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.domain.errors import StrategyError
from hybrid_platform.domain.instruments import InstrumentTable, infer_instrument
from hybrid_platform.domain.orders import buy
from hybrid_platform.domain.ticks import batch_from_rows
from hybrid_platform.session.channel import Channel, EndOfStream
from hybrid_platform.session.interpreter import SWITCH_INTERVAL_S, tune_interpreter
from hybrid_platform.session.messages import MAX_COALESCED, ControlMessage, TickMessage, coalesce
from hybrid_platform.session.stages.strategy import LIVE_LIMIT, SLOW_NS, StrategyStage
from hybrid_platform.session.strategy_host.frames import (
    Ack,
    EndOfTicks,
    InstrumentsFrame,
    PipeReader,
    PipeWriter,
    UpFrame,
    encode_ticks,
)
from hybrid_platform.session.strategy_host.pipes import ACK_INTERVAL_S, ACK_TICKS, PipeSource
from hybrid_platform.settings.runtime import OnFull
from hybrid_platform.strategies.base import Params, Strategy
from hybrid_platform.strategies.runner import StrategyRunner
from hybrid_platform.testing import TestClock
from hybrid_platform_tests.support import PATIENCE

REFS = st.one_of(st.none(), st.integers(1, 99), st.text("abc", min_size=1, max_size=3))
STOP = ControlMessage(Command(CommandKind.HALT, "somebody", "a reason", 1))


def a_table() -> InstrumentTable:
    table = InstrumentTable()
    table.add(infer_instrument("V", "A-USD"))
    return table


def ticks_of(table: InstrumentTable, first: int, refs: list[int | str | None]) -> TickMessage:
    rows = [(0, 100 + first + n, 1, 0, ref, first + n, first + n) for n, ref in enumerate(refs)]
    return TickMessage(batch_from_rows(table, rows).with_seq_from(first))


def said(messages) -> list[object]:
    """Every tick, as it stands, and every word, in order."""
    return [
        entry
        for message in messages
        for entry in ([message] if isinstance(message, ControlMessage) else list(message.batch.rows()))
    ]


@pytest.mark.scenario("S8", "S6")
@given(st.lists(st.one_of(st.none(), st.lists(REFS, min_size=1, max_size=MAX_COALESCED + 2)), max_size=12))
def test_coalesced_ticks_are_unchanged_and_in_order(parts):
    """A command keeps its place between the ticks."""
    table, messages, first = a_table(), [], 1
    for part in parts:
        if part is None:
            messages.append(STOP)
        else:
            messages.append(ticks_of(table, first, part))
            first += len(part)
    joined = list(coalesce(messages))
    assert said(joined) == said(messages)
    assert sum(message.events for message in joined) == first - 1
    longest = max((len(part) for part in parts if part), default=0)
    assert all(message.events <= max(MAX_COALESCED, longest) for message in joined), (
        "a signal waits for a few ticks only"
    )


@pytest.mark.scenario("S6")
def test_waiting_single_ticks_are_processed_by_eights():
    table = a_table()
    messages = [ticks_of(table, number, [None]) for number in range(1, 21)]
    assert [message.events for message in coalesce(messages)] == [MAX_COALESCED, MAX_COALESCED, 20 - 2 * MAX_COALESCED]


@pytest.mark.scenario("S6")
def test_a_live_strategy_lets_execution_catch_up():
    """It waits while more than half of the signal channel is full."""
    channel = Channel("signal", 4, OnFull.FAIL)
    for number in range(1, 3):
        channel.send(ticks_of(a_table(), number, [None]))
    started = time.monotonic()
    channel.wait_until_half_empty(PATIENCE)
    assert time.monotonic() - started < PATIENCE / 2, "half of it is not more than half"
    channel.send(ticks_of(a_table(), 3, [None]))
    waiting = threading.Thread(target=channel.wait_until_half_empty, args=(PATIENCE,))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive(), "three of four wait"
    channel.receive()
    waiting.join(PATIENCE / 2)
    assert not waiting.is_alive()


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
    table, first, steps = a_table(), 1, []
    strategy = Failing(Params())
    strategy.fails_at = fails_at
    runner = StrategyRunner(strategy, table)
    with suppress(StrategyError):
        for cut in cuts:
            for step in runner.on_batch(ticks_of(table, first, [None] * cut).batch):
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
    table, source, errors = a_table(), Channel("tick", 256, OnFull.DROP_OLDEST), []
    for number in range(1, ticks + 1):
        source.send(ticks_of(table, number, [None]))
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
            for message in signals.receive(4, PATIENCE):
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
    assert stage.join(PATIENCE)
    sizes = [len(message.step.ticks) for message in signals.receive()]
    assert errors == []
    assert sizes == [MAX_COALESCED] * (LIVE_LIMIT // MAX_COALESCED) + [1] * LIVE_LIMIT, "once it is known to be slow"


@pytest.fixture
def pipes():
    down, up = os.pipe(), os.pipe()
    yield down, up
    for descriptor in (*down, *up):
        os.close(descriptor)


@pytest.mark.scenario("S6", "S13")
def test_ticks_are_acknowledged_by_half_a_window(pipes):
    """Fewer ticks are acknowledged after a time limit."""
    (down_reading, down_writing), (up_reading, up_writing) = pipes
    table, parent, replies = a_table(), PipeWriter(down_writing), PipeReader(up_reading, UpFrame)
    clock = TestClock()
    source = PipeSource(down_reading, PipeWriter(up_writing), InstrumentTable(), clock)

    def send(number: int) -> None:
        parent.write(encode_ticks(ticks_of(table, number, [None]).batch))

    def acknowledged() -> list[int]:
        found = []
        while (message := replies.read(0)) is not None:
            assert isinstance(message, Ack)
            found.append(message.events)
        return found

    parent.write(InstrumentsFrame(tuple(table)))
    many = 2 * ACK_TICKS + 3
    for number in range(1, many + 1):
        send(number)
    seen = [int(source.receive(timeout=1)[0].batch.seq[0]) for _ in range(many)]
    assert seen == list(range(1, many + 1))
    assert acknowledged() == [ACK_TICKS, ACK_TICKS], "the rest is still worked on"
    assert source.receive(timeout=0.01) == []
    assert acknowledged() == [3], "nothing waits: what was worked on is said at once"
    for number in (many + 1, many + 2):
        send(number)
        source.receive(timeout=1)
        assert acknowledged() == [1] * (number - many - 1), "a slow strategy is seen to move"
        clock.advance(ACK_INTERVAL_S)
    send(many + 3)
    parent.write(EndOfTicks(many + 3))
    source.receive(timeout=1)
    with pytest.raises(EndOfStream):
        source.receive(timeout=1)
    assert acknowledged() == [1, 1], "all of it, before the end"
    assert source.last_seq == many + 3


def test_loaded_objects_are_frozen_while_stages_run():
    interval = sys.getswitchinterval()
    frozen = gc.get_freeze_count()
    set_back = tune_interpreter()
    try:
        assert gc.get_freeze_count() > frozen
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
    finally:
        set_back()
    assert (gc.get_freeze_count() == 0) is (frozen == 0)  # what somebody else had frozen stays so
    assert sys.getswitchinterval() == pytest.approx(interval)
