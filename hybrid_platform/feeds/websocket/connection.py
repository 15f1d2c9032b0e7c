"""One connection to a venue, reopened for as long as the session lasts (S3, S4).

in: a `Transport` · out: its frames, stamped with the receive time, to a `FrameReader` (and a recorder); each
disconnect to the `GapTracker`; NetworkError after too many failures in a row.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from hybrid_platform.domain.backoff import JitteredBackoff
from hybrid_platform.domain.clocks import NS_PER_S, Clock
from hybrid_platform.domain.errors import NetworkError
from hybrid_platform.domain.log import Log
from hybrid_platform.feeds.websocket.reader import FrameReader
from hybrid_platform.feeds.websocket.recording import FrameRecorder
from hybrid_platform.feeds.websocket.transport import Disconnect, Transport
from hybrid_platform.settings.websocket import WebsocketFeed

_MAX_POLL_S = 0.25
"""Longest interval between two stall checks of a connection."""


class Connection:
    """A connection that reconnects with backoff. Owned by the feed's thread.

    ``symbols`` are the cleaned symbols that it carries; ``wake`` is called when ticks are ready.
    """

    def __init__(
        self,
        transport: Transport,
        reader: FrameReader,
        symbols: Sequence[str],
        settings: WebsocketFeed,
        *,
        recorder: FrameRecorder | None,
        clock: Clock,
        log: Log,
        random: Random,
        wake: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._reader = reader
        self._symbols = symbols
        self._settings = settings
        self._recorder = recorder
        self._clock = clock
        self._log = log
        self._wake = wake
        self._backoff = JitteredBackoff(settings.backoff_seconds, settings.backoff_max_seconds, random)
        self._opened_ns: int | None = None
        self._traded_ns = 0
        self._sequence: int | None = None
        self.connects = 0
        self.disconnects: Counter[str] = Counter()
        """Cause -> count of connections, and of attempts at one, that ended for it."""

    async def run(self) -> None:
        """Connect again and again; ends only by cancellation or with NetworkError."""
        first_failure_ns = 0
        while True:
            self._opened_ns = None
            end = await self._connect_once()
            self.disconnects[end.cause] += 1
            self._reader.gaps.on_disconnect(self._symbols, end.cause)
            if self._was_stable():
                self._backoff.reset()
            if self._backoff.failures == 0:
                first_failure_ns = self._clock.monotonic_ns()
            wait_s = self._backoff.next_wait_s()
            failures = self._backoff.failures
            venue, endpoint = self._reader.venue.label, self._transport.endpoint
            fields = {
                "venue": venue, "where": endpoint, "cause": end.cause, "detail": end.detail, "failures": failures
            }  # fmt: skip
            if failures >= self._settings.max_failures:
                self._log.error("feed gave up (S4)", **fields)
                raise NetworkError(
                    f"{venue}: {failures} failures in a row"
                    f" over {(self._clock.monotonic_ns() - first_failure_ns) / NS_PER_S:.1f} s"
                    f" at {endpoint}; the last: {end.cause}: {end.detail}."
                    " Check the network (name resolution, firewall, proxy) and the venue's status, then start again"
                )
            self._log.warning("feed disconnected (S3)", **fields, retry_in_s=round(wait_s, 3))
            await asyncio.sleep(wait_s)

    async def _connect_once(self) -> Disconnect:
        """Open one connection and keep it until it ends or delivers no trade for too long."""
        running = asyncio.create_task(self._transport.run(self))
        stall_ns = int(self._settings.stall_seconds * NS_PER_S)
        try:
            while True:
                done, _ = await asyncio.wait({running}, timeout=min(_MAX_POLL_S, self._settings.stall_seconds / 4))
                if done:
                    return running.result()
                if self._opened_ns is not None and self._clock.monotonic_ns() - self._traded_ns >= stall_ns:
                    return Disconnect("stall", f"no trade for {self._settings.stall_seconds:g} s")
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait({running})

    def _was_stable(self) -> bool:
        return (
            self._opened_ns is not None
            and self._traded_ns > self._opened_ns
            and self._traded_ns - self._opened_ns >= self._settings.stable_seconds * NS_PER_S
        )

    def on_open(self) -> None:
        """Record that the connection is open."""
        self.connects += 1
        self._opened_ns = self._traded_ns = self._clock.monotonic_ns()
        self._sequence = None
        self._log.info(
            "feed connected (S2)",
            venue=self._reader.venue.label,
            where=self._transport.endpoint,
            symbols=len(self._symbols),
            connects=self.connects,
        )

    def on_frame(self, frame: bytes | str, *, binary: bool) -> str:
        """Stamp, record and read one frame; return the reason to close the connection, if there is one."""
        ts_recv = self._clock.wall_ns()
        if self._recorder is not None:
            self._recorder.write(ts_recv, frame, binary=binary)
        result = self._reader.read(frame, ts_recv, binary=binary)
        if result.has_trades:
            self._traded_ns = self._clock.monotonic_ns()
        if result.sequence is not None:
            if self._sequence is not None and result.sequence > self._sequence + 1:
                self._reader.gaps.on_sequence_jump(self._sequence, result.sequence, ts_recv)
            self._sequence = result.sequence
        if self._reader.waiting:
            self._wake()
        return result.close_reason

    def on_unreadable_frame(self, cause: str, detail: str) -> None:
        """Count a frame that could not be received completely."""
        self._reader.reject(cause, detail)
