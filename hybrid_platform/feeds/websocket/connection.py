"""One connection kept alive for as long as the session lasts (S3, S4).

in: a `Transport` · out: its frames to a `FrameReader` (and a recorder), stamped with the receive time;
broken streams to the `GapTracker`; NetworkError once it has failed too often in a row.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from hybrid_platform.domain.clocks import NS_PER_S, Clock
from hybrid_platform.domain.errors import NetworkError
from hybrid_platform.domain.log import Log
from hybrid_platform.feeds.websocket.backoff import Backoff
from hybrid_platform.feeds.websocket.reader import FrameReader
from hybrid_platform.feeds.websocket.recording import FrameRecorder
from hybrid_platform.feeds.websocket.transport import Ended, Transport
from hybrid_platform.settings.websocket import WebsocketFeed

_LOOK_S = 0.25
"""How often a silent connection is looked at, at most."""


class Link:
    """Owned by the feed's thread. ``symbols`` are the cleaned ones that it carries."""

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
        self._backoff = Backoff(settings.backoff_seconds, settings.backoff_max_seconds, random)
        self._opened_ns: int | None = None
        self._traded_ns = 0
        self._sequence: int | None = None
        self.connects = 0
        self.ends: Counter[str] = Counter()
        """Cause -> how often a connection, or the attempt at one, ended so."""

    async def keep(self) -> None:
        """Connect again and again; returns only by cancellation, or raises NetworkError."""
        first_failure_ns = 0
        while True:
            self._opened_ns = None
            ended = await self._once()
            self.ends[ended.cause] += 1
            self._reader.gaps.interrupted(self._symbols, ended.cause)
            if self._was_stable():
                self._backoff.succeeded()
            if self._backoff.failures == 0:
                first_failure_ns = self._clock.monotonic_ns()
            wait_s = self._backoff.failed()
            failures, most = self._backoff.failures, self._settings.max_failures
            where = {"venue": self._reader.venue.label, "where": self._transport.where}
            if failures >= most:
                self._log.error("feed gave up (S4)", **where, cause=ended.cause, detail=ended.detail, failures=failures)
                raise NetworkError(
                    f"{where['venue']}: {failures} failures in a row"
                    f" over {(self._clock.monotonic_ns() - first_failure_ns) / NS_PER_S:.1f} s"
                    f" at {where['where']}; the last: {ended.cause}: {ended.detail}."
                    " Check the network (name resolution, firewall, proxy) and the venue's status, then start again"
                )
            self._log.warning(
                "feed disconnected (S3)",
                **where,
                cause=ended.cause,
                detail=ended.detail,
                failures=failures,
                retry_in_s=round(wait_s, 3),
            )
            await asyncio.sleep(wait_s)

    async def _once(self) -> Ended:
        """Hold one connection until it ends or gives no trade for too long."""
        running = asyncio.create_task(self._transport.run(self))
        stall_ns = int(self._settings.stall_seconds * NS_PER_S)
        try:
            while True:
                done, _ = await asyncio.wait({running}, timeout=min(_LOOK_S, self._settings.stall_seconds / 4))
                if done:
                    return running.result()
                if self._opened_ns is not None and self._clock.monotonic_ns() - self._traded_ns >= stall_ns:
                    return Ended("stall", f"no trade for {self._settings.stall_seconds:g} s")
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

    def opened(self) -> None:
        """Note that the connection stands."""
        self.connects += 1
        self._opened_ns = self._traded_ns = self._clock.monotonic_ns()
        self._sequence = None
        self._log.info(
            "feed connected (S2)",
            venue=self._reader.venue.label,
            where=self._transport.where,
            symbols=len(self._symbols),
            connects=self.connects,
        )

    def frame(self, frame: bytes | str, *, binary: bool) -> str:
        """Stamp, keep and read one frame; return why the connection should be given up, if it should."""
        ts_recv = self._clock.wall_ns()
        if self._recorder is not None:
            self._recorder.write(ts_recv, frame, binary=binary)
        heard = self._reader.read(frame, ts_recv, binary=binary)
        if heard.trades:
            self._traded_ns = self._clock.monotonic_ns()
        if heard.sequence is not None:
            if self._sequence is not None and heard.sequence > self._sequence + 1:
                self._reader.gaps.message_jump(self._sequence, heard.sequence, ts_recv)
            self._sequence = heard.sequence
        if self._reader.waiting:
            self._wake()
        return heard.ends

    def unreadable(self, cause: str, detail: str) -> None:
        """Count a frame that could not even be received whole."""
        self._reader.reject(cause, detail)
