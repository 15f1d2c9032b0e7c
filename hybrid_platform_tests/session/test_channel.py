"""Bounded channels: each policy, exact counters, several producers and consumers (S6)."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_platform.domain.errors import OverloadError
from hybrid_platform.session.channel import Channel, ChannelAborted, ChannelClosed, EndOfStream
from hybrid_platform.settings.runtime import OnFull
from hybrid_platform_tests.session.ticks import single_table, tick_message
from hybrid_platform_tests.support import PROCESS_TIMEOUT_S

pytestmark = pytest.mark.scenario("S6")


class Numbers(NamedTuple):
    items: tuple[int, ...]

    @property
    def events(self) -> int:
        return len(self.items)

    def split(self, first):
        return Numbers(self.items[:first]), Numbers(self.items[first:])


class Whole(Numbers):
    def split(self, first):
        return None


def numbers(start: int, count: int) -> Numbers:
    return Numbers(tuple(range(start, start + count)))


def drain(channel: Channel[Numbers]) -> list[int]:
    taken = []
    try:
        while messages := channel.receive(timeout=0):
            taken += [item for message in messages for item in message.items]
    except EndOfStream:
        pass
    return taken


def test_drop_oldest_keeps_the_newest_and_counts_the_rest():
    channel = Channel("tick", 5, OnFull.DROP_OLDEST)
    assert channel.send(numbers(0, 4)) == 0
    assert channel.send(numbers(4, 3)) == 2
    stats = channel.stats()
    assert (stats.sent, stats.dropped, stats.depth, stats.max_depth) == (7, 2, 5, 7)
    assert drain(channel) == [2, 3, 4, 5, 6]
    assert channel.stats().balances


def test_drop_oldest_keeps_the_end_of_a_large_message():
    channel = Channel("tick", 3, OnFull.DROP_OLDEST)
    assert channel.send(numbers(0, 10)) == 7
    assert drain(channel) == [7, 8, 9]


def test_guaranteed_messages_are_never_evicted():
    """A send fails only if the reserve is full."""
    channel = Channel("persist", 4, OnFull.DROP_OLDEST, reserve=3)
    channel.send(numbers(0, 4))
    channel.send(numbers(100, 3), guaranteed=True)
    assert channel.send(numbers(4, 2)) == 2
    with pytest.raises(OverloadError, match=r"persist.*reserve of 3, got 3 waiting"):
        channel.send(numbers(103, 1), guaranteed=True)
    assert drain(channel) == [2, 3, 100, 101, 102, 4, 5]
    assert channel.stats().dropped == 3
    assert channel.stats().balances


def test_fail_refuses_a_message_and_keeps_the_waiting_ones():
    channel = Channel("signal", 4, OnFull.FAIL)
    channel.send(Whole((1, 2, 3)))
    with pytest.raises(OverloadError, match=r"signal.*capacity of 4, got 3 waiting"):
        channel.send(Whole((4, 5)))
    assert drain(channel) == [1, 2, 3]
    assert channel.stats().balances


def test_a_large_unsplittable_message_fits_an_empty_channel():
    channel = Channel("signal", 2, OnFull.FAIL)
    channel.send(Whole((1, 2, 3)))
    assert drain(channel) == [1, 2, 3]


def test_a_receive_with_a_limit_splits_messages_without_loss():
    channel = Channel("tick", 10, OnFull.BLOCK)
    channel.send(numbers(0, 7))
    assert [message.items for message in channel.receive(3)] == [(0, 1, 2)]
    assert drain(channel) == [3, 4, 5, 6]


def test_the_three_endings_raise_different_errors():
    channel = Channel("tick", 10, OnFull.BLOCK, producers=2)
    assert channel.receive(timeout=0) == []
    channel.send(numbers(0, 1))
    channel.close()
    channel.close()
    with pytest.raises(ChannelClosed):
        channel.send(numbers(1, 1))
    assert drain(channel) == [0]
    with pytest.raises(EndOfStream):
        channel.receive()
    channel.abort()
    with pytest.raises(ChannelAborted):
        channel.receive()
    assert channel.stats().dropped == 1
    assert channel.stats().balances


def test_an_abort_wakes_a_waiting_producer():
    channel = Channel("tick", 1, OnFull.BLOCK)
    channel.send(numbers(0, 1))
    outcome = []

    def produce() -> None:
        try:
            channel.send(numbers(1, 5))
        except ChannelAborted:
            outcome.append("aborted")

    thread = threading.Thread(target=produce)
    thread.start()
    while not channel.stats().blocked:
        pass
    channel.abort()
    thread.join(10)
    assert outcome == ["aborted"]
    assert channel.stats().balances


def test_messages_without_events_are_bounded():
    channel = Channel("signal", 1, OnFull.FAIL, max_messages=3)
    for _ in range(3):
        channel.send(Whole(()))
    with pytest.raises(OverloadError):
        channel.send(Whole(()))


@settings(max_examples=60, deadline=None)
@given(
    policy=st.sampled_from(OnFull),
    capacity=st.integers(1, 40),
    sizes=st.lists(st.lists(st.integers(0, 60), max_size=25), min_size=1, max_size=4),
    limit=st.one_of(st.none(), st.integers(1, 30)),
    kept=st.booleans(),
)
def test_every_event_is_received_dropped_or_still_waiting(policy, capacity, sizes, limit, kept):
    """Several producers, two consumers: a single waiter slot would deadlock here, a lost update would not balance."""
    channel: Channel[Numbers] = Channel("c", capacity, policy, producers=len(sizes), reserve=capacity)
    received: list[list[int]] = [[], []]
    offered: list[int] = []

    def produce(which: int) -> None:
        start = which * 100_000
        for size in sizes[which]:
            with contextlib.suppress(OverloadError):
                channel.send(numbers(start, size), guaranteed=kept and which == 0)
            start += size
        channel.close()

    def consume(which: int) -> None:
        try:
            while True:
                received[which] += [item for message in channel.receive(limit, 5) for item in message.items]
        except EndOfStream:
            return

    threads = [threading.Thread(target=produce, args=(i,)) for i in range(len(sizes))]
    threads += [threading.Thread(target=consume, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    stats = channel.stats()
    offered = [i * 100_000 + n for i, own in enumerate(sizes) for n in range(sum(own))]
    assert stats.balances
    assert stats.depth == 0
    assert stats.sent == len(offered)
    got = sorted(received[0] + received[1])
    assert len(got) == stats.received == len(set(got))
    assert set(got) <= set(offered)
    if policy is OnFull.BLOCK:
        assert got == offered
        assert stats.dropped == 0


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_order_per_producer_is_kept_and_depth_is_bounded(data):
    capacity = data.draw(st.integers(1, 20))
    channel: Channel[Numbers] = Channel("c", capacity, OnFull.DROP_OLDEST, reserve=10)
    next_item, seen = 0, []
    for _ in range(data.draw(st.integers(0, 40))):
        if data.draw(st.booleans()):
            size = data.draw(st.integers(0, 30))
            channel.send(numbers(next_item, size))
            next_item += size
        else:
            seen += [item for message in channel.receive(data.draw(st.integers(1, 30)), 0) for item in message.items]
        assert channel.stats().depth <= capacity
        assert channel.stats().balances
    assert seen == sorted(seen)


def test_a_waiting_consumer_is_woken_by_enough_events():
    """The end of the stream and its timeout wake it too."""
    channel = Channel("persist", 8, OnFull.BLOCK)
    taken = []
    consumer = threading.Thread(target=lambda: taken.extend(channel.receive(timeout=30, at_least=4)), daemon=True)
    consumer.start()
    channel.send(numbers(0, 3))
    consumer.join(0.1)
    assert consumer.is_alive()
    channel.send(numbers(3, 1))
    consumer.join(10)
    assert taken == [numbers(0, 3), numbers(3, 1)]
    channel.send(numbers(4, 1))
    assert channel.receive(timeout=0.01, at_least=4) == [numbers(4, 1)]
    channel.send(numbers(5, 1))
    channel.close()
    assert channel.receive(at_least=4) == [numbers(5, 1)]
    assert channel.stats().balances


@pytest.mark.scenario("S6")
def test_a_sender_can_wait_until_half_empty():
    """A live strategy waits like this to let execution catch up."""
    channel = Channel("signal", 4, OnFull.FAIL)
    for number in range(1, 3):
        channel.send(tick_message(single_table(), number, [None]))
    started = time.monotonic()
    channel.wait_until_half_empty(PROCESS_TIMEOUT_S)
    assert time.monotonic() - started < PROCESS_TIMEOUT_S / 2, "half of it is not more than half"
    channel.send(tick_message(single_table(), 3, [None]))
    waiting = threading.Thread(target=channel.wait_until_half_empty, args=(PROCESS_TIMEOUT_S,))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive(), "three of four wait"
    channel.receive()
    waiting.join(PROCESS_TIMEOUT_S / 2)
    assert not waiting.is_alive()
