"""Messages between parent and sandboxed child before and after user code runs: JSON lines over two pipes (I1).

Messages are typed and bounded, never pickled, and every answer has a deadline. Until the parent's second `Proceed` the
child runs only this package; after it, the parent compares the child's messages and trusts none of them.
"""

from __future__ import annotations

import os
import select
import time
from typing import TypeVar

import msgspec

from hybrid_platform.domain.errors import IsolationError
from hybrid_platform.domain.isolation import Attempt, Denied, LandlockStatus, PositiveControl
from hybrid_platform.sandbox.grants import Grants
from hybrid_platform.sandbox.listener import Address
from hybrid_platform.sandbox.selftest import Canary

MAX_LINE = 4 * 1024 * 1024
"""Bytes."""


class PeerGone(IsolationError):
    """The other side closed its end, most likely because it ended."""


class Message(msgspec.Struct, frozen=True, tag_field="message", forbid_unknown_fields=True):
    """One line of JSON."""


class Plan(Message, frozen=True, tag="plan"):
    """Parent → child: everything the child needs to apply its sandbox."""

    parent: int
    pipes: dict[str, int]
    """The caller's pipes: name → descriptor number in the child."""
    arguments: str
    """The caller's text for the main module."""
    grants: Grants
    canary: Canary
    listener: Address
    notify: bool
    """Whether to load the filter that reports denied calls to the parent."""
    own_network: bool
    """Whether to leave the network namespace, if the host allows it."""


class Sealed(Message, frozen=True, tag="sealed"):
    """Child → parent: every layer that this host has is applied."""

    control: PositiveControl
    landlock: LandlockStatus
    filter_sha256: str | None
    """None if no filter was loaded."""
    listener: int | None
    """Descriptor for the parent to take, if the filter notifies."""
    faults: tuple[str, ...]
    """Layers that the host refused, and why."""


class Tested(Message, frozen=True, tag="tested"):
    """Child → parent: the attempts of the self-test."""

    attempts: tuple[Attempt, ...]
    hook_alive: bool


class Leaving(Message, frozen=True, tag="leaving"):
    """Child → parent: user code has ended, with the counts of the audit hook."""

    denied: tuple[Denied, ...]


class Proceed(Message, frozen=True, tag="proceed"):
    """Parent → child: continue."""


_DECODER = msgspec.json.Decoder(Plan | Sealed | Tested | Leaving | Proceed)


M = TypeVar("M", bound=Message)


class MessagePipe:
    """One end of the pair of pipes that carries the messages; owns both descriptors."""

    def __init__(self, read: int, write: int, *, max_line: int = MAX_LINE) -> None:
        self._read, self._write, self._max_line = read, write, max_line
        self._pending = bytearray()
        os.set_blocking(read, False)

    @property
    def descriptors(self) -> tuple[int, int]:
        """The two descriptors: read, write."""
        return self._read, self._write

    def close(self) -> None:
        """Close both ends."""
        os.close(self._read)
        os.close(self._write)

    def send(self, message: Message) -> None:
        """Write one message; raise PeerGone if the other side has closed its end."""
        data = memoryview(msgspec.json.encode(message) + b"\n")
        try:
            while data:
                data = data[os.write(self._write, data) :]
        except OSError as error:
            raise PeerGone(f"sandbox: expected a listening peer for {_name(message)}, got {error}") from None

    def receive(self, expected: type[M], timeout_s: float) -> M:
        """Return the next message, which must be an ``expected``.

        Raises IsolationError if it is another message, longer than the limit or late, and PeerGone at the end.
        """
        deadline = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        while b"\n" not in self._pending:
            left_ms = max(0, int((deadline - time.monotonic()) * 1000))
            if not poll.poll(left_ms):
                raise IsolationError(f"sandbox: expected {expected.__name__} within {timeout_s:g} s, got silence")
            chunk = os.read(self._read, 65_536)
            if not chunk:
                raise PeerGone(f"sandbox: expected {expected.__name__}, got the end of the pipe")
            self._pending += chunk
            if len(self._pending) > self._max_line:
                raise IsolationError(
                    f"sandbox: expected {expected.__name__}, got a line of more than {self._max_line} bytes"
                )
        line, _, rest = bytes(self._pending).partition(b"\n")
        self._pending[:] = rest
        try:
            message = _DECODER.decode(line)
        except msgspec.MsgspecError as error:
            raise IsolationError(f"sandbox: expected {expected.__name__}, got {error}") from None
        if not isinstance(message, expected):
            raise IsolationError(f"sandbox: expected {expected.__name__}, got {_name(message)}")
        return message


def _name(message: Message) -> str:
    return type(message).__name__
