"""Local venue: a real websocket server in a thread that sends frames and misbehaves by script.

in: frames and a script (a list of `VenueAction` objects per connection) · out: frames over a real socket, and counts
of the frames sent and lost. Loopback only.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from types import TracebackType
from urllib.parse import urlsplit
from uuid import UUID

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from hybrid_platform.testing.actions import Market, Refuse, Send, Stall, VenueAction

_SUBSCRIPTION_TIMEOUT_S = 5.0


class LocalVenue:
    """Serve ``frames`` at `url` (``ws://127.0.0.1:<port>``) from entering to leaving its context.

    The n-th connection runs the n-th list of ``script``; a connection after the last list receives all
    remaining frames. After its list a connection stays open and silent. The first action waits for the
    client's first message (its subscription), 5 s at most, unless ``wait_for_subscription`` is False.
    ``tls`` makes the URL ``wss://localhost:<port>``. ``pages`` (path -> JSON) are served to plain HTTP requests
    on the same port, for clients that send a REST request first.
    """

    def __init__(
        self,
        frames: Iterable[str],
        script: Sequence[Sequence[VenueAction]] = (),
        *,
        wait_for_subscription: bool = True,
        compression: bool = False,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
        pages: Mapping[str, str] | None = None,
    ) -> None:
        self._market = Market(frames)
        self._script = list(script)
        self._actions: dict[UUID, Sequence[VenueAction]] = {}
        self._playing: set[asyncio.Task[None]] = set()
        self._wait_for_subscription = wait_for_subscription
        self._compression = compression
        self._tls = tls
        self._port = port
        self._pages = pages or {}
        self._ready = threading.Event()
        self._failed: OSError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="local-venue", daemon=True)
        self.attempts = 0
        """Handshakes, including refused ones."""
        self.received: list[str] = []
        """Messages from clients, in order."""
        self.url = ""

    @property
    def sent(self) -> int:
        """Frames of the market that were sent, not counting repeated ones."""
        return self._market.sent

    @property
    def skipped(self) -> int:
        """Frames of the market that were skipped."""
        return self._market.skipped

    def __enter__(self) -> LocalVenue:
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise self._failed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._done is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failed = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        server = await serve(
            self._connected,
            "127.0.0.1",
            self._port,
            process_request=self._handshake,
            compression="deflate" if self._compression else None,
            ssl=self._tls,
            ping_interval=None,
            max_size=2**20,
        )
        port = server.sockets[0].getsockname()[1]
        self.url = f"wss://localhost:{port}" if self._tls else f"ws://127.0.0.1:{port}"
        self._ready.set()
        await self._done.wait()
        for connection in list(server.connections):
            connection.transport.abort()
        for playing in self._playing:
            playing.cancel()
        server.close(close_connections=False)
        await server.wait_closed()

    async def _handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        page = self._pages.get(urlsplit(request.path).path)
        if page is not None:
            response = connection.respond(HTTPStatus.OK, page)
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = "application/json"
            return response
        number, self.attempts = self.attempts, self.attempts + 1
        actions = self._script[number] if number < len(self._script) else [Send()]
        refusal = next((action for action in actions if isinstance(action, Refuse)), None)
        if refusal is None:
            self._actions[connection.id] = actions
            return None
        response = connection.respond(HTTPStatus(refusal.status), "refused by script\n")
        if refusal.location is not None:
            response.headers["Location"] = refusal.location
        return response

    async def _connected(self, socket: ServerConnection) -> None:
        actions = self._actions.pop(socket.id)
        subscribed = asyncio.Event()
        listener = asyncio.create_task(self._listen(socket, subscribed))
        playing = asyncio.create_task(self._play(socket, actions, subscribed))
        self._playing.add(playing)
        await asyncio.wait({playing})
        self._playing.discard(playing)
        listener.cancel()
        if not playing.cancelled() and (error := playing.exception()) is not None:
            raise error

    async def _play(self, socket: ServerConnection, actions: Sequence[VenueAction], subscribed: asyncio.Event) -> None:
        with suppress(ConnectionClosed):
            if self._wait_for_subscription:
                with suppress(TimeoutError):
                    await asyncio.wait_for(subscribed.wait(), _SUBSCRIPTION_TIMEOUT_S)
            for action in [*actions, Stall()]:
                await action.play(socket, self._market)

    async def _listen(self, socket: ServerConnection, subscribed: asyncio.Event) -> None:
        with suppress(ConnectionClosed):
            async for message in socket:
                self.received.append(message if isinstance(message, str) else message.decode("utf-8", "replace"))
                subscribed.set()
