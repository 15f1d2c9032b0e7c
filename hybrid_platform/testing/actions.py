"""Actions of a `LocalVenue`'s script, performed in order on one connection.

All connections share one stream of frames, the market. `Skip` advances it without sending, so a test knows exactly
which frames were lost.
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
    """Stream of frames shared by all connections. Owned by the venue's thread."""

    def __init__(self, frames: Iterable[str]) -> None:
        self._frames: Iterator[str] = iter(frames)
        self._last: deque[str] = deque(maxlen=10_000)
        self.sent = 0
        """Frames sent, not counting repeated ones."""
        self.skipped = 0

    def take(self, count: int | None) -> Iterator[str]:
        """Yield the next frames; None: all remaining ones."""
        for frame in islice(self._frames, count):
            self._last.append(frame)
            self.sent += 1
            yield frame

    def skip(self, count: int) -> None:
        """Advance the market without sending."""
        self.skipped += sum(1 for _ in islice(self._frames, count))

    def last(self, count: int) -> list[str]:
        """Return the last frames sent."""
        return list(self._last)[-count:]


class VenueAction(ABC):
    """One action of a venue on a connection."""

    @abstractmethod
    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Perform the action on a connection."""


@dataclass(frozen=True)
class Send(VenueAction):
    """Send the next ``count`` frames (None: all remaining), ``per_second`` at most (None: without pauses)."""

    count: int | None = None
    per_second: float | None = None

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send the frames."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        for number, frame in enumerate(market.take(self.count)):
            if self.per_second is not None:
                early = started + number / self.per_second - loop.time()
                if early > 0.002:
                    await asyncio.sleep(early)
            await socket.send(frame)


@dataclass(frozen=True)
class Skip(VenueAction):
    """Advance the market by ``count`` frames without sending them, which is a gap."""

    count: int

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Advance the market."""
        market.skip(self.count)


@dataclass(frozen=True)
class Repeat(VenueAction):
    """Send the last ``count`` frames again, as a venue may after a reconnect."""

    count: int

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send the frames."""
        for frame in market.last(self.count):
            await socket.send(frame)


@dataclass(frozen=True)
class Reverse(VenueAction):
    """Send the next ``count`` frames in reverse order."""

    count: int

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send the frames."""
        for frame in reversed(list(market.take(self.count))):
            await socket.send(frame)


@dataclass(frozen=True)
class Slow(VenueAction):
    """Send the next ``count`` frames in fragments, each frame over ``seconds``."""

    count: int
    seconds: float = 0.2
    pieces: int = 4

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send the frames."""
        for frame in market.take(self.count):
            await socket.send(self._pieces(frame))

    async def _pieces(self, frame: str) -> AsyncIterator[str]:
        size = max(1, -(-len(frame) // self.pieces))
        for start in range(0, len(frame), size):
            yield frame[start : start + size]
            await asyncio.sleep(self.seconds / self.pieces)


@dataclass(frozen=True)
class Garbage(VenueAction):
    """Send invalid frames: text as text frames, bytes as binary ones."""

    frames: tuple[str | bytes, ...] = GARBAGE

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send the frame."""
        for frame in self.frames:
            await socket.send(frame)


@dataclass(frozen=True)
class NotUtf8(VenueAction):
    """Send a text frame that is not UTF-8; a client must fail the connection (RFC 6455, 8.1)."""

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send the frame."""
        await socket.send(b'{"secret": "\xff\xfe"}', text=True)


@dataclass(frozen=True)
class Huge(VenueAction):
    """Send one frame of ``size`` bytes."""

    size: int

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send the frame."""
        await socket.send('{"padding":"' + "x" * self.size + '"}')


@dataclass(frozen=True)
class Bomb(VenueAction):
    """Send a frame that is small when compressed and has ``size`` bytes; the venue must use compression."""

    size: int

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send the frame."""
        await socket.send("0" * self.size)


@dataclass(frozen=True)
class Fragments(VenueAction):
    """Send one message in ``count`` fragments."""

    count: int

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send the frames."""
        await socket.send("x" for _ in range(self.count))


@dataclass(frozen=True)
class PingFlood(VenueAction):
    """Send ``count`` pings."""

    count: int

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Send the frames."""
        for _ in range(self.count):
            await socket.ping()


@dataclass(frozen=True)
class Stall(VenueAction):
    """Send nothing for ``seconds`` (None: until the client leaves); pings are answered."""

    seconds: float | None = None

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Wait for the time or for the client to leave."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.seconds):
                await socket.wait_closed()


@dataclass(frozen=True)
class NoPong(VenueAction):
    """Stop reading, so that no ping is answered, and send nothing, for ``seconds`` (None: forever)."""

    seconds: float | None = None

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Pause reading."""
        socket.transport.pause_reading()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.seconds):
                await socket.wait_closed()
        socket.transport.resume_reading()


@dataclass(frozen=True)
class Close(VenueAction):
    """Close with a closing handshake, a code and a reason."""

    code: int = 1001
    reason: str = ""

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Close the connection."""
        await socket.close(self.code, self.reason)


@dataclass(frozen=True)
class Drop(VenueAction):
    """Cut the connection without a closing handshake."""

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Abort the connection."""
        socket.transport.abort()


@dataclass(frozen=True)
class Refuse(VenueAction):
    """Refuse the handshake with an HTTP status (and a ``Location``); the only action of its connection."""

    status: int = 503
    location: str | None = None

    async def play(self, socket: ServerConnection, market: Market) -> None:
        """Do nothing: the connection was refused before it opened."""
