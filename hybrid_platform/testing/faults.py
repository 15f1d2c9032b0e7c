"""The steps of a `LocalVenue`'s script: what it does to one connection, one after the other.

The market is one stream of frames that all connections share: while nobody listens it can go on
(`Skip`), so what is lost is exact.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from websockets.asyncio.server import ServerConnection

GARBAGE: tuple[str | bytes, ...] = (
    "",
    "{",
    "null",
    "[]",
    "[[[[",
    '{"stream":"btcusdt@trade","data":{"e":"trade"',
    '{"data":{"e":"trade","s":"BTCUSDT","t":1,"p":"NaN","q":"1","T":1700000000000,"m":true}}',
    '{"data":{"e":"trade","s":"BTCUSDT","t":1,"p":"1_000","q":"1","T":1700000000000,"m":true}}',
    '{"data":{"e":"trade","s":"BTCUSDT","t":1,"p":"-1","q":"1","T":1700000000000,"m":true}}',
    '{"data":{"e":"trade","s":"BTCUSDT","t":1,"p":"1","q":"1","T":0,"m":true}}',
    b"\x00\x01\x02 not text",
)


class Market:
    """The frames, shared by all connections; read by the venue's thread only."""

    def __init__(self, frames: Iterable[str]) -> None:
        self._frames: Iterator[str] = iter(frames)
        self._last: deque[str] = deque(maxlen=10_000)
        self.sent = 0
        """Frames of the market that were sent, the repeated ones left out."""
        self.skipped = 0

    def take(self, count: int | None) -> Iterator[str]:
        """Yield the next frames; None: all that are left."""
        for frame in islice(self._frames, count):
            self._last.append(frame)
            self.sent += 1
            yield frame

    def skip(self, count: int) -> None:
        """Let the market go on unheard."""
        self.skipped += sum(1 for _ in islice(self._frames, count))

    def last(self, count: int) -> list[str]:
        """Return the last frames that were sent."""
        return list(self._last)[-count:]


class Step(ABC):
    """One thing that a venue does."""

    @abstractmethod
    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Do it to a connection."""


@dataclass(frozen=True)
class Send(Step):
    """Send the next ``count`` frames (None: all that are left), ``per_second`` of them (None: at once)."""

    count: int | None = None
    per_second: float | None = None

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send them."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        for number, frame in enumerate(market.take(self.count)):
            if self.per_second is not None:
                early = started + number / self.per_second - loop.time()
                if early > 0.002:
                    await asyncio.sleep(early)
            await socket.send(frame)


@dataclass(frozen=True)
class Skip(Step):
    """Let ``count`` frames of the market go by unsent: a gap."""

    count: int

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Lose them."""
        market.skip(self.count)


@dataclass(frozen=True)
class Repeat(Step):
    """Send the last ``count`` frames again, as a venue may after a reconnect."""

    count: int

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send them."""
        for frame in market.last(self.count):
            await socket.send(frame)


@dataclass(frozen=True)
class Reverse(Step):
    """Send the next ``count`` frames in reverse order."""

    count: int

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send them."""
        for frame in reversed(list(market.take(self.count))):
            await socket.send(frame)


@dataclass(frozen=True)
class Slow(Step):
    """Send the next ``count`` frames in pieces, each dragged out over ``seconds``."""

    count: int
    seconds: float = 0.2
    pieces: int = 4

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send them."""
        for frame in market.take(self.count):
            await socket.send(self._pieces(frame))

    async def _pieces(self, frame: str) -> AsyncIterator[str]:
        size = max(1, -(-len(frame) // self.pieces))
        for start in range(0, len(frame), size):
            yield frame[start : start + size]
            await asyncio.sleep(self.seconds / self.pieces)


@dataclass(frozen=True)
class Garbage(Step):
    """Send what is no trade: text as text frames, bytes as binary ones."""

    frames: tuple[str | bytes, ...] = GARBAGE

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send it."""
        for frame in self.frames:
            await socket.send(frame)


@dataclass(frozen=True)
class NotUtf8(Step):
    """Send a text frame that is no UTF-8; a client must fail the connection (RFC 6455, 8.1)."""

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send it."""
        await socket.send(b'{"secret": "\xff\xfe"}', text=True)


@dataclass(frozen=True)
class Huge(Step):
    """Send one frame of ``size`` bytes."""

    size: int

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send it."""
        await socket.send('{"padding":"' + "x" * self.size + '"}')


@dataclass(frozen=True)
class Bomb(Step):
    """Send a frame that is small on the wire and ``size`` bytes when it is inflated (a venue with compression)."""

    size: int

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send it."""
        await socket.send("0" * self.size)


@dataclass(frozen=True)
class Fragments(Step):
    """Send one message in ``count`` fragments."""

    count: int

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send them."""
        await socket.send("x" for _ in range(self.count))


@dataclass(frozen=True)
class PingFlood(Step):
    """Send ``count`` pings."""

    count: int

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send them."""
        for _ in range(self.count):
            await socket.ping()


@dataclass(frozen=True)
class Stall(Step):
    """Send nothing for ``seconds`` (None: until the client leaves); pings are answered."""

    seconds: float | None = None

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Wait."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.seconds):
                await socket.wait_closed()


@dataclass(frozen=True)
class NoPong(Step):
    """Read nothing any more, so that no ping is answered, and send nothing, for ``seconds`` (None: for good)."""

    seconds: float | None = None

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Go deaf."""
        socket.transport.pause_reading()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.seconds):
                await socket.wait_closed()
        socket.transport.resume_reading()


@dataclass(frozen=True)
class Close(Step):
    """Close by the book, with a code and a reason."""

    code: int = 1001
    reason: str = ""

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Close."""
        await socket.close(self.code, self.reason)


@dataclass(frozen=True)
class Drop(Step):
    """Cut the connection without a word."""

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Cut it."""
        socket.transport.abort()


@dataclass(frozen=True)
class Refuse(Step):
    """Refuse the handshake with an HTTP status (and a ``Location``); the only step of its connection."""

    status: int = 503
    location: str | None = None

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Nothing: the connection never came to be."""
