"""Tests of the messages between parent and child: typed, bounded and in time, or a clear error (I1)."""

from __future__ import annotations

import os
import threading

import pytest

from hybrid_platform.domain.errors import IsolationError
from hybrid_platform.domain.isolation import Denied, Kind
from hybrid_platform.sandbox.protocol import Leaving, MessagePipe, Proceed
from hybrid_platform.sandbox.protocol import Tested as Answer


@pytest.fixture
def ends():
    """The parent's end, and the bare descriptors of the child's: read, write."""
    (down_read, down_write), (up_read, up_write) = os.pipe(), os.pipe()
    parent = MessagePipe(up_read, down_write, max_line=200_000)
    child = [down_read, up_write]
    yield parent, child
    parent.close()
    for descriptor in child:
        os.close(descriptor)


def test_messages_survive_any_fragmentation(ends):
    parent, (_, write) = ends
    denied = b'{"source":"kernel","kind":"socket","name":"connect","stage":"s","count":2}'
    sent = b'{"message":"leaving","denied":[' + denied + b']}\n{"message":"proceed"}\n'

    def send() -> None:
        for at in range(len(sent)):
            os.write(write, sent[at : at + 1])

    sender = threading.Thread(target=send)
    sender.start()
    assert parent.receive(Leaving, 20).denied == (Denied("kernel", Kind.SOCKET, "connect", "s", 2),)
    assert parent.receive(Proceed, 20) == Proceed()
    sender.join()


@pytest.mark.scenario("I1")
@pytest.mark.parametrize(
    ("sent", "words"),
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
def test_anything_else_is_refused(ends, sent, words):
    parent, (_, write) = ends
    sender = threading.Thread(target=os.write, args=(write, sent))
    sender.start()
    with pytest.raises(IsolationError, match=words):
        parent.receive(Answer, 20)
    sender.join()


@pytest.mark.scenario("I1")
def test_an_endless_line_is_refused(ends):
    parent, (_, write) = ends
    sender = threading.Thread(target=os.write, args=(write, b"x" * 250_000))
    sender.start()
    with pytest.raises(IsolationError, match="more than 200000 bytes"):
        parent.receive(Answer, 20)
    sender.join()


def test_silence_and_a_closed_pipe_differ(ends):
    parent, child = ends
    with pytest.raises(IsolationError, match="silence"):
        parent.receive(Answer, 0.01)
    os.close(child[1])
    child[1] = os.dup(child[0])
    with pytest.raises(IsolationError, match="end of the pipe"):
        parent.receive(Answer, 20)


def test_sending_to_a_closed_pipe_raises(ends):
    parent, child = ends
    os.close(child[0])
    child[0] = os.dup(child[1])
    with pytest.raises(IsolationError, match="listening peer for Proceed"):
        parent.send(Proceed())
