"""One websocket to a venue, from opening to its end (S2, S4).

in: what a venue sends · out: each frame to a `Listener`, and in the end an `Ended` that says why.
Frame size, queue, fragments and decompression are bounded; TLS is verified; redirects are not followed.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.frames import CloseCode

from hybrid_platform.feeds.websocket.parsing import Venue
from hybrid_platform.feeds.websocket.sample import sample_of
from hybrid_platform.settings.websocket import FeedSource, WebsocketFeed

_LONG_NAME = re.compile(r"/[^/]{32,}")
CLOSE_S = 1.0
"""How long a venue may take to say goodbye."""

_silent = logging.getLogger("hybrid_platform.feeds.websocket.library")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False  # the library logs tracebacks; every failure comes to us as an exception too


class Ended(NamedTuple):
    """Why a connection is no more."""

    cause: str
    """``unreachable``, ``timeout``, ``tls``, ``refused``, ``drop``, ``closed``, ``no_pong``, ``stall``, ``venue`` …"""
    detail: str


class Listener(Protocol):
    """What a transport reports to."""

    def opened(self) -> None:
        """The connection stands, and the subscription is under way."""

    def frame(self, frame: bytes | str, *, binary: bool) -> str:
        """A frame came; a text that is not empty says why the connection should be given up."""

    def unreadable(self, cause: str, detail: str) -> None:
        """A frame came that could not even be received whole."""


class Transport(Protocol):
    """A way to hear a venue."""

    where: str
    """Where it leads, fit for a log."""

    async def run(self, listener: Listener) -> Ended:
        """Connect, subscribe and listen until it ends; cancelled, it says goodbye first."""


class _Connect(connect):
    """Never follows a redirect: where we connect is what the settings say."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class SocketTransport:
    """A websocket to a native venue, for at most ``venue.per_connection`` symbols."""

    def __init__(
        self, venue: Venue, source: FeedSource, symbols: Sequence[str], settings: WebsocketFeed, tls: ssl.SSLContext
    ) -> None:
        self._venue = venue
        self._symbols = symbols
        self._settings = settings
        self._tls = tls
        self._url = source.url or venue.url
        self._proxied = not source.is_loopback
        parts = urlsplit(self._url)
        # Without the query, and without what may be a key in the path.
        self.where = f"{parts.scheme}://{parts.netloc}{_LONG_NAME.sub('/***', parts.path)}"

    async def run(self, listener: Listener) -> Ended:
        """Connect, subscribe and listen until it ends."""
        try:
            socket = await self._open()
        except TimeoutError:
            return Ended("timeout", f"no answer within {self._settings.open_seconds:g} s")
        except ssl.SSLError as error:
            return Ended("tls", text_of_error(error))
        except OSError as error:
            return Ended("unreachable", text_of_error(error))
        except (WebSocketException, ValueError, ImportError) as error:  # a SOCKS proxy needs another package
            return Ended("refused", text_of_error(error))
        listener.opened()
        helpers = [asyncio.create_task(self._subscribe(socket)), asyncio.create_task(self._keep_alive(socket))]
        try:
            return await self._listen(socket, listener)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.wait(helpers)
            await self._leave(socket)

    async def _open(self) -> ClientConnection:
        settings = self._settings
        return await _Connect(
            self._url,
            ssl=self._tls if self._url.startswith("wss:") else None,
            proxy=True if self._proxied else None,
            user_agent_header="hybrid-platform",
            compression="deflate" if settings.compression else None,
            open_timeout=settings.open_seconds,
            ping_interval=settings.ping_seconds,
            ping_timeout=settings.pong_seconds,
            close_timeout=CLOSE_S,
            max_size=settings.max_frame_bytes,
            max_queue=settings.max_queue_frames,
            logger=_silent,
        )

    async def _listen(self, socket: ClientConnection, listener: Listener) -> Ended:
        try:
            while True:
                frame = await socket.recv()
                if why := listener.frame(frame, binary=isinstance(frame, bytes)):
                    return Ended("venue", why)
        except ConnectionClosed as closed:
            return _reason(closed, listener)

    async def _subscribe(self, socket: ClientConnection) -> None:
        size = self._venue.per_message
        for start in range(0, len(self._symbols), size):
            await _send_all(
                socket, self._venue.subscribe(self._symbols[start : start + size]), self._venue.message_gap_s
            )

    async def _keep_alive(self, socket: ClientConnection) -> None:
        while self._venue.ping is not None:
            await asyncio.sleep(self._venue.ping.seconds)
            await _send_all(socket, [self._venue.ping.message], 0.0)

    async def _leave(self, socket: ClientConnection) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await _send_all(socket, self._venue.unsubscribe(self._symbols), 0.0)
        await socket.close()


async def _send_all(socket: ClientConnection, messages: Sequence[str], gap_s: float) -> None:
    """Send messages, spaced so as not to be taken for a flood; a connection that is gone is noticed by its reader."""
    with suppress(ConnectionClosed):
        for message in messages:
            await socket.send(message)
            await asyncio.sleep(gap_s)


def _reason(closed: ConnectionClosed, listener: Listener) -> Ended:
    """Say why a websocket ended; what we ended ourselves was a frame that could not be read."""
    cause = closed.__cause__
    if isinstance(cause, UnicodeDecodeError):
        # RFC 6455, 8.1: a client must fail the connection on a text frame that is no UTF-8.
        listener.frame(bytes(cause.object), binary=False)
        return Ended("bad_utf8", "a text frame that is no UTF-8")
    sent, received = closed.sent, closed.rcvd
    if sent is not None and not closed.rcvd_then_sent:
        if sent.code == CloseCode.MESSAGE_TOO_BIG:
            listener.unreadable("oversized_frame", sent.reason)
            return Ended("oversized_frame", sample_of(sent.reason))
        if sent.code in {CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA}:
            listener.unreadable("bad_frame", sent.reason)
            return Ended("bad_frame", sample_of(sent.reason))
        if sent.code == CloseCode.INTERNAL_ERROR:
            return Ended("no_pong", sample_of(sent.reason))
    if received is not None:
        return Ended("closed", sample_of(f"{received.code} {received.reason}".strip()))
    return Ended("drop", "the connection was lost")


def text_of_error(error: Exception) -> str:
    """Return what went wrong, fit for a log."""
    return sample_of(str(error) or type(error).__name__)
