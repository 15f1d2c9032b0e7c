"""One websocket connection to a venue, from opening to its end (S2, S4).

in: a venue's messages · out: each frame to a `TransportListener`, and finally a `Disconnect` with the cause.
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

from hybrid_platform.feeds.websocket.parsing import make_sample
from hybrid_platform.feeds.websocket.venue import Venue
from hybrid_platform.settings.websocket import FeedSource, WebsocketFeed

_LONG_SEGMENT = re.compile(r"/[^/]{32,}")
CLOSE_TIMEOUT_S = 1.0
"""Time that a venue may take to complete the closing handshake."""

_discarded_log = logging.getLogger("hybrid_platform.feeds.websocket.library")
_discarded_log.addHandler(logging.NullHandler())
_discarded_log.propagate = False  # the library logs tracebacks of failures that we also receive as exceptions


class Disconnect(NamedTuple):
    """End of a connection, or of an attempt at one."""

    cause: str
    """``unreachable``, ``timeout``, ``tls``, ``refused``, ``drop``, ``closed``, ``no_pong``, ``stall``, ``venue`` …"""
    detail: str


class TransportListener(Protocol):
    """Receiver of a transport's events."""

    def on_open(self) -> None:
        """Handle an open connection; the subscription is being sent."""

    def on_frame(self, frame: bytes | str, *, binary: bool) -> str:
        """Handle a frame; return the reason to close the connection, or an empty text."""

    def on_unreadable_frame(self, cause: str, detail: str) -> None:
        """Handle a frame that could not be received completely."""


class Transport(Protocol):
    """Connection to a venue's trades."""

    endpoint: str
    """The venue's address, fit for a log."""

    async def run(self, listener: TransportListener) -> Disconnect:
        """Connect, subscribe and listen until the connection ends; on cancellation, unsubscribe and close first."""


class _Connect(connect):
    """A `connect` that follows no redirect: only the configured address is connected to."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class SocketTransport:
    """A `Transport` to a native venue, for at most ``venue.per_connection`` symbols."""

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
        # Without the query, and without path segments long enough to be a key.
        self.endpoint = f"{parts.scheme}://{parts.netloc}{_LONG_SEGMENT.sub('/***', parts.path)}"

    async def run(self, listener: TransportListener) -> Disconnect:
        """Connect, subscribe and listen until the connection ends."""
        try:
            socket = await self._open()
        except TimeoutError:
            return Disconnect("timeout", f"no answer within {self._settings.open_seconds:g} s")
        except ssl.SSLError as error:
            return Disconnect("tls", describe_error(error))
        except OSError as error:
            return Disconnect("unreachable", describe_error(error))
        except (WebSocketException, ValueError, ImportError) as error:  # a SOCKS proxy needs another package
            return Disconnect("refused", describe_error(error))
        listener.on_open()
        helpers = [asyncio.create_task(self._subscribe(socket)), asyncio.create_task(self._keep_alive(socket))]
        try:
            return await self._listen(socket, listener)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.wait(helpers)
            await self._unsubscribe_and_close(socket)

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
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=settings.max_frame_bytes,
            max_queue=settings.max_queue_frames,
            logger=_discarded_log,
        )

    async def _listen(self, socket: ClientConnection, listener: TransportListener) -> Disconnect:
        try:
            while True:
                frame = await socket.recv()
                if reason := listener.on_frame(frame, binary=isinstance(frame, bytes)):
                    return Disconnect("venue", reason)
        except ConnectionClosed as closed:
            return _classify_close(closed, listener)

    async def _subscribe(self, socket: ClientConnection) -> None:
        size = self._venue.per_message
        for start in range(0, len(self._symbols), size):
            await _send_all(
                socket, self._venue.subscribe(self._symbols[start : start + size]), self._venue.message_gap_s
            )

    async def _keep_alive(self, socket: ClientConnection) -> None:
        while self._venue.ping is not None:
            await asyncio.sleep(self._venue.ping.interval_s)
            await _send_all(socket, [self._venue.ping.message], 0.0)

    async def _unsubscribe_and_close(self, socket: ClientConnection) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await _send_all(socket, self._venue.unsubscribe(self._symbols), 0.0)
        await socket.close()


async def _send_all(socket: ClientConnection, messages: Sequence[str], gap_s: float) -> None:
    """Send messages with pauses between them, as venues limit their rate; the reader notices a closed connection."""
    with suppress(ConnectionClosed):
        for message in messages:
            await socket.send(message)
            await asyncio.sleep(gap_s)


def _classify_close(closed: ConnectionClosed, listener: TransportListener) -> Disconnect:
    """Return why a websocket ended; if our side closed it, report the frame that could not be read."""
    cause = closed.__cause__
    if isinstance(cause, UnicodeDecodeError):
        # RFC 6455, 8.1: a client must fail the connection on a text frame that is not valid UTF-8.
        listener.on_frame(bytes(cause.object), binary=False)
        return Disconnect("bad_utf8", "a text frame that is not UTF-8")
    sent, received = closed.sent, closed.rcvd
    if sent is not None and not closed.rcvd_then_sent:
        if sent.code == CloseCode.MESSAGE_TOO_BIG:
            listener.on_unreadable_frame("oversized_frame", sent.reason)
            return Disconnect("oversized_frame", make_sample(sent.reason))
        if sent.code in {CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA}:
            listener.on_unreadable_frame("bad_frame", sent.reason)
            return Disconnect("bad_frame", make_sample(sent.reason))
        if sent.code == CloseCode.INTERNAL_ERROR:
            return Disconnect("no_pong", make_sample(sent.reason))
    if received is not None:
        return Disconnect("closed", make_sample(f"{received.code} {received.reason}".strip()))
    return Disconnect("drop", "the connection was lost")


def describe_error(error: Exception) -> str:
    """Return an error's message, fit for a log."""
    return make_sample(str(error) or type(error).__name__)
