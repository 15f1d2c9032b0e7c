"""The sandboxed process's end of the tick pipe: frames, acknowledgements and the end (S6, S13)."""

from __future__ import annotations

import os

import pytest

from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.session.channel import EndOfStream
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
from hybrid_platform.testing import TestClock
from hybrid_platform_tests.session.ticks import single_table, tick_message


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
    table, parent, replies = single_table(), PipeWriter(down_writing), PipeReader(up_reading, UpFrame)
    clock = TestClock()
    source = PipeSource(down_reading, PipeWriter(up_writing), InstrumentTable(), clock)

    def send(number: int) -> None:
        parent.write(encode_ticks(tick_message(table, number, [None]).batch))

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
    assert acknowledged() == [ACK_TICKS, ACK_TICKS], "the rest is still being processed"
    assert source.receive(timeout=0.01) == []
    assert acknowledged() == [3], "without waiting ticks they are acknowledged at once"
    for number in (many + 1, many + 2):
        send(number)
        source.receive(timeout=1)
        assert acknowledged() == [1] * (number - many - 1), "a slow strategy progresses"
        clock.advance(ACK_INTERVAL_S)
    send(many + 3)
    parent.write(EndOfTicks(many + 3))
    source.receive(timeout=1)
    with pytest.raises(EndOfStream):
        source.receive(timeout=1)
    assert acknowledged() == [1, 1], "all of them before the end"
    assert source.last_seq == many + 3
