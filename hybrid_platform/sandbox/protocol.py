"""What parent and guarded child say to each other before and after user code: JSON lines over two pipes.

Typed and bounded, never pickle; every answer has a deadline. Before the parent's second `Proceed` the
child runs nothing but this package; after it, the child's word is only compared, never trusted.
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


class PeerGone(IsolationError):
    """The other side closed its end, most likely by dying."""


class Message(msgspec.Struct, frozen=True, tag_field="message", forbid_unknown_fields=True):
    """One line."""


class Plan(Message, frozen=True, tag="plan"):
    """Parent → child: everything the guard needs to know."""

    parent: int
    pipes: dict[str, int]
    """The caller's pipes by name: descriptor numbers in the child."""
    arguments: str
    """The caller's own, untouched."""
    grants: Grants
    canary: Canary
    listener: Address
    notify: bool
    """Load the filter that reports denied calls to the parent."""
    own_network: bool
    """Leave the network namespace, if allowed."""


class Sealed(Message, frozen=True, tag="sealed"):
    """Child → parent: the guard is on, as far as this host has it."""

    control: PositiveControl
    landlock: LandlockStatus
    filter_sha256: str | None
    """None: no filter was loaded."""
    listener: int | None
    """Descriptor to take, where the filter notifies."""
    faults: tuple[str, ...]
    """What was refused, and why."""


class Tested(Message, frozen=True, tag="tested"):
    """Child → parent: what the self-test tried."""

    attempts: tuple[Attempt, ...]
    hook_alive: bool


class Leaving(Message, frozen=True, tag="leaving"):
    """Child → parent: user code is done, and this is what its audit hook counted."""

    denied: tuple[Denied, ...]


class Proceed(Message, frozen=True, tag="proceed"):
    """Parent → child: go on."""


_DECODER = msgspec.json.Decoder(Plan | Sealed | Tested | Leaving | Proceed)


M = TypeVar("M", bound=Message)


class MessagePipe:
    """One end of the conversation; owns both descriptors."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
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
        """Write one line; raises PeerGone where nobody listens any more."""
        data = memoryview(msgspec.json.encode(message) + b"\n")
        try:
            while data:
                data = data[os.write(self._write, data) :]
        except OSError as error:
            raise PeerGone(f"sandbox: expected a listening peer for {_name(message)}, got {error}") from None

    def receive(self, expected: type[M], timeout_s: float) -> M:
        """Return the next line, which must be an ``expected``.

        Raises IsolationError where it is something else, longer than 4 MiB or late, PeerGone at the end.
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
            if len(self._pending) > MAX_LINE:
                raise IsolationError(f"sandbox: expected {expected.__name__}, got a line of more than {MAX_LINE} bytes")
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
