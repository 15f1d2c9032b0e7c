"""The live feed: public trades of several venues at once, as a `Feed` (S2, S3, S4, S5, S7).

in: the settings' sources · out: `FeedBatch` objects of the trades that are ready, each of one source. The asyncio
loop runs inside the calling thread, between two batches. A frame is stamped, decoded and passed on without changing
threads, so no lock is needed, and a slow pipeline slows the sockets down instead of filling a queue. After a stop
request the feed unsubscribes and yields a last batch with the open gaps.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random

import msgspec

from hybrid_platform.domain.clocks import Clock, Stopper
from hybrid_platform.domain.errors import ConfigError, Fault, PlatformError
from hybrid_platform.domain.instruments import InstrumentTable, clean_symbol
from hybrid_platform.domain.log import Log
from hybrid_platform.feeds.base import FeedBatch, ResumePoints, Store
from hybrid_platform.feeds.websocket.ccxt import CcxtTransport
from hybrid_platform.feeds.websocket.connection import Connection
from hybrid_platform.feeds.websocket.gaps import GapNumbers, GapTracker
from hybrid_platform.feeds.websocket.reader import FrameReader
from hybrid_platform.feeds.websocket.recording import FrameRecorder
from hybrid_platform.feeds.websocket.transport import SocketTransport, Transport
from hybrid_platform.feeds.websocket.venues import create_venue
from hybrid_platform.settings.websocket import FeedSource, WebsocketFeed

POLL_INTERVAL_S = 0.05
"""How often a feed without trades checks for a stop request."""
SHUTDOWN_TIMEOUT_S = 5.0
_MB = 1_000_000


class SourceStats(msgspec.Struct, frozen=True):
    """Figures of one source so far."""

    venue: str
    symbols: int
    connects: int
    disconnects: Mapping[str, int] = msgspec.field(name="ends")
    """Cause -> count of connections, and of attempts at one, that ended for it."""
    frames: int
    ignored: Mapping[str, int]
    """Kind -> count of frames without a subscribed trade."""
    gaps: int
    missing: int
    """Trades that are known to be missing."""
    lag_ms: float | None
    """Median of receive time - event time over the last 512 messages; negative if the clocks disagree."""
    lag_p99_ms: float | None
    clocks_disagree: bool
    recorded_frames: int
    recording_failed: bool


class _Source:
    """One entry of the settings with its connections."""

    def __init__(
        self, reader: FrameReader, connections: Sequence[Connection], recorder: FrameRecorder | None, symbols: int
    ) -> None:
        self.reader = reader
        self.connections = connections
        self.recorder = recorder
        self.symbols = symbols


class LiveFeed:
    """The `Feed` named ``websocket``.

    Frames are recorded in ``store`` below ``session_id`` (needed for ``record_frames`` only). ``random`` gives
    the jitter of the backoff. The first trade after one of ``resume_points`` can reveal a gap between sessions.
    """

    name = "websocket"

    def __init__(
        self,
        settings: WebsocketFeed,
        table: InstrumentTable,
        clock: Clock,
        log: Log,
        *,
        random: Random | None = None,
        store: Store | None = None,
        session_id: str = "session",
        resume_points: ResumePoints | None = None,
    ) -> None:
        self._settings = settings
        self._resume_points = resume_points or {}
        self._table = table
        self._clock = clock
        self._log = log
        self._random = random or Random()  # noqa: S311 (jitter needs no secrecy)
        self._store = store
        self._session_id = session_id
        self._sources: list[_Source] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Check everything that needs no network; raise ConfigError."""
        if self._settings.record_frames and self._store is None:
            raise ConfigError([Fault("feed.websocket.record_frames", "a data directory to write to", "none")])
        tls = _create_tls_context(self._settings.ca_file)
        numbers = GapNumbers()
        self._sources = [
            self._build_source(number, source, numbers, tls) for number, source in enumerate(self._settings.sources, 1)
        ]

    def _build_source(self, number: int, source: FeedSource, numbers: GapNumbers, tls: ssl.SSLContext) -> _Source:
        venue = create_venue(source)
        gaps = GapTracker(venue.label, contiguous=venue.contiguous, numbers=numbers)
        for (label, symbol), (ref, ts_event) in self._resume_points.items():
            if label == venue.label:
                gaps.resume_from(symbol, ref, ts_event)
        only = source.symbols[0] if len(source.symbols) == 1 else None
        reader = FrameReader(venue, self._table, gaps, symbols=source.symbols, quote=source.quote, only=only)
        recorder = None
        if self._settings.record_frames and self._store is not None:
            recorder = FrameRecorder(
                self._store,
                f"{self._session_id}/{number:02d}-{venue.label.replace('/', '-').replace(':', '-')}",
                segment_bytes=int(self._settings.record_segment_mb * _MB),
                max_bytes=int(self._settings.record_max_mb * _MB),
                log=self._log,
            )
        connect = partial(
            Connection,
            reader=reader,
            settings=self._settings,
            recorder=recorder,
            clock=self._clock,
            log=self._log,
            random=self._random,
            wake=self._wake,
        )
        connections = [
            connect(transport, symbols=[clean_symbol(symbol) for symbol in symbols])
            for transport, symbols in self._transports(source, venue.per_connection, tls)
        ]
        return _Source(reader, connections, recorder, len(source.symbols))

    def _transports(
        self, source: FeedSource, per_connection: int, tls: ssl.SSLContext
    ) -> Iterator[tuple[Transport, Sequence[str]]]:
        if source.venue == "ccxt":
            yield CcxtTransport(source, allow_insecure=self._settings.allow_insecure), source.symbols
            return
        for start in range(0, len(source.symbols), per_connection):
            symbols = source.symbols[start : start + per_connection]
            yield SocketTransport(create_venue(source), source, symbols, self._settings, tls), symbols

    def batches(self, stop: Stopper) -> Iterator[FeedBatch]:
        """Yield trades as they arrive, until a stop request; raise NetworkError after all trades before it.

        Ends within `POLL_INTERVAL_S` plus the closing of the connections. Read it to the end: the last
        batch holds the gaps that were still open.
        """
        loop = self._loop = asyncio.new_event_loop()
        # Its own executor: name resolution blocks a thread and must not delay the end of the session.
        loop.set_default_executor(ThreadPoolExecutor(max_workers=4, thread_name_prefix="resolve"))
        connections = [connection for source in self._sources for connection in source.connections]
        self._tasks = [loop.create_task(connection.run()) for connection in connections]
        failed: BaseException | None = None
        try:
            while failed is None and not stop.is_set():
                self._run_until_ready(loop)
                yield from self._drain()
                failed = next((task.exception() for task in self._tasks if task.done()), None)
        finally:
            self.close()
        for source in self._sources:
            yield from source.reader.drain(source.reader.gaps.finish(self._clock.wall_ns()))
        if failed is not None:
            raise failed if isinstance(failed, PlatformError) else RuntimeError("the live feed failed") from failed

    def _run_until_ready(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the loop until a connection has read a trade (`_wake`), or for `POLL_INTERVAL_S`."""
        timer = loop.call_later(POLL_INTERVAL_S, loop.stop)
        loop.run_forever()
        timer.cancel()

    def _wake(self) -> None:
        if self._loop is not None:
            self._loop.stop()

    def _drain(self) -> Iterator[FeedBatch]:
        now = self._clock.wall_ns()
        for source in self._sources:
            yield from source.reader.drain(source.reader.gaps.settle(now))

    def close(self) -> None:
        """Unsubscribe and close all connections; safe to call twice."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        for task in self._tasks:
            task.cancel()
        try:
            done, _ = loop.run_until_complete(asyncio.wait(self._tasks, timeout=SHUTDOWN_TIMEOUT_S))
            for task in done:
                if not task.cancelled():
                    task.exception()  # already handled in `batches`, or too late to matter
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
            for source in self._sources:
                if source.recorder is not None:
                    source.recorder.close()

    def stats(self) -> tuple[SourceStats, ...]:
        """Return the figures of each source so far; may be called from any thread."""
        return tuple(map(_collect_stats, self._sources))


def _collect_stats(source: _Source) -> SourceStats:
    reader = source.reader
    disconnects: dict[str, int] = {}
    for connection in source.connections:
        for cause, count in connection.disconnects.copy().items():
            disconnects[cause] = disconnects.get(cause, 0) + count
    return SourceStats(
        venue=reader.venue.label,
        symbols=source.symbols,
        connects=sum(connection.connects for connection in source.connections),
        disconnects=disconnects,
        frames=reader.frames,
        ignored=dict(reader.ignored.copy()),
        gaps=reader.gaps.count,
        missing=reader.gaps.missing,
        lag_ms=_to_ms(reader.lag.median_ns),
        lag_p99_ms=_to_ms(reader.lag.quantile_ns(0.99)),
        clocks_disagree=reader.lag.clocks_disagree,
        recorded_frames=0 if source.recorder is None else source.recorder.frames,
        recording_failed=source.recorder is not None and source.recorder.failed,
    )


def _to_ms(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e6


def _create_tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that always verifies certificates and host names."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        got = f"{Path(ca_file or '').name}: {error.strerror if isinstance(error, OSError) else error}"
        raise ConfigError([Fault("feed.websocket.ca_file", "a readable PEM file of certificates", got)]) from None
