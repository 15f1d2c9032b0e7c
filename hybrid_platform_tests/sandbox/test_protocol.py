"""What parent and child say to each other: bounded, typed, in time, or an error that says what was wrong (I1)."""

from __future__ import annotations

import os
import threading

import pytest

from hybrid_platform.domain.errors import IsolationError
from hybrid_platform.domain.isolation import Denied, Kind
from hybrid_platform.sandbox import protocol
from hybrid_platform.sandbox.protocol import Leaving, MessagePipe, Proceed
from hybrid_platform.sandbox.protocol import Tested as Answer


@pytest.fixture
def line():
    """The parent's end, and the bare descriptors of the child's: read, write."""
    (down_read, down_write), (up_read, up_write) = os.pipe(), os.pipe()
    mine = MessagePipe(up_read, down_write)
    theirs = [down_read, up_write]
    yield mine, theirs
    mine.close()
    for descriptor in theirs:
        os.close(descriptor)


def test_messages_arrive_as_they_were_sent_however_they_are_cut(line):
    mine, (_, write) = line
    denied = b'{"source":"kernel","kind":"socket","name":"connect","stage":"s","count":2}'
    sent = b'{"message":"leaving","denied":[' + denied + b']}\n{"message":"proceed"}\n'

    def say() -> None:
        for at in range(len(sent)):
            os.write(write, sent[at : at + 1])

    speaker = threading.Thread(target=say)
    speaker.start()
    assert mine.receive(Leaving, 20).denied == (Denied("kernel", Kind.SOCKET, "connect", "s", 2),)
    assert mine.receive(Proceed, 20) == Proceed()
    speaker.join()


@pytest.mark.scenario("I1")
@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"not json\n", "expected Tested"),
        (b"\xff\xfe\n", "expected Tested"),
        (b'{"message":"proceed"}\n', "got Proceed"),
        (b'{"message":"unheard of"}\n', "unheard of"),
        (b'{"message":"tested","attempts":[],"hook_alive":1}\n', "expected Tested"),
        (b'{"message":"tested","attempts":[],"hook_alive":true,"more":1}\n', "more"),
        (b"[" * 100_000 + b"\n", "expected Tested"),
    ],
)
def test_anything_else_is_refused(line, said, words):
    mine, (_, write) = line
    speaker = threading.Thread(target=os.write, args=(write, said))
    speaker.start()
    with pytest.raises(IsolationError, match=words):
        mine.receive(Answer, 20)
    speaker.join()


@pytest.mark.scenario("I1")
def test_a_line_without_an_end_is_given_up(line, monkeypatch):
    monkeypatch.setattr(protocol, "MAX_LINE", 10_000)
    mine, (_, write) = line
    speaker = threading.Thread(target=os.write, args=(write, b"x" * 60_000))
    speaker.start()
    with pytest.raises(IsolationError, match="more than 10000 bytes"):
        mine.receive(Answer, 20)
    speaker.join()


def test_silence_and_a_closed_pipe_are_told_apart(line):
    mine, theirs = line
    with pytest.raises(IsolationError, match="silence"):
        mine.receive(Answer, 0.01)
    os.close(theirs[1])
    theirs[1] = os.dup(theirs[0])
    with pytest.raises(IsolationError, match="end of the pipe"):
        mine.receive(Answer, 20)


def test_a_peer_that_is_gone_is_told(line):
    mine, theirs = line
    os.close(theirs[0])
    theirs[0] = os.dup(theirs[1])
    with pytest.raises(IsolationError, match="listening peer for Proceed"):
        mine.send(Proceed())
