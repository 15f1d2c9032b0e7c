"""Helpers that run a `LiveFeed` in the test's own thread.

`LiveRun`: a feed and everything it yielded; `until` and `until_ticks` run it. `StopWhen`: a stopper with a condition.
`binance`: settings of a source at a local venue. `closed_port`: a port without a listener.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import GapRecord
from hybrid_platform.domain.ticks import Tick
from hybrid_platform.feeds.base import FeedBatch, Rejection
from hybrid_platform.feeds.websocket import LiveFeed, SourceStats
from hybrid_platform.session.stages.deduplicate import Deduplicator
from hybrid_platform.settings.websocket import WebsocketFeed
from hybrid_platform.testing import ListLog

PATIENCE_S = 60.0
"""A longer wait is a failure; nothing else here depends on the speed of the machine."""


class StopWhen:
    """A `Stopper` that is set as soon as ``holds()``."""

    def __init__(self, holds: Callable[[], bool]) -> None:
        self._holds = holds
        self._deadline = time.monotonic() + PATIENCE_S
        self.expired = False

    def is_set(self) -> bool:
        self.expired = time.monotonic() > self._deadline
        return self.expired or self._holds()

    def wait(self, timeout: float | None = None) -> bool:
        time.sleep(min(timeout or 0.01, 0.01))
        return self.is_set()


class LiveRun:
    """One feed and everything that it yielded."""

    def __init__(self, *sources: dict[str, Any], store: Any = None, clock: Any = None, **settings: Any) -> None:
        settings = {"backoff_seconds": 0.01, "backoff_max_seconds": 0.05} | settings
        self.log = ListLog()
        self.feed = LiveFeed(
            WebsocketFeed.model_validate({"sources": sources, **settings}),
            InstrumentTable(),
            clock or SystemClock(),
            self.log,
            random=Random(7),
            store=store,
        )
        self.feed.open()
        self.batches: list[FeedBatch] = []
        self.ticks: list[Tick] = []
        self.rejected: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        self.samples: list[Rejection] = []
        self.gaps: list[GapRecord] = []
        self.history = 0
        self.received = 0
        self.error: PlatformError | None = None

    def until(self, holds: Callable[[LiveRun], bool]) -> LiveRun:
        """Run until the condition holds or the feed fails; a hang fails the test."""
        stop = StopWhen(lambda: holds(self))
        try:
            for batch in self.feed.batches(stop):
                self.take(batch)
        except PlatformError as error:
            self.error = error
        finally:
            self.feed.close()
        assert not stop.expired, f"the feed yielded nothing more: {self.stats}"
        return self

    def until_ticks(self, count: int) -> LiveRun:
        """Run until ``count`` ticks have arrived."""
        return self.until(lambda run: len(run.ticks) >= count)

    def take(self, batch: FeedBatch) -> None:
        """Store a batch and check its accounting."""
        assert batch.received == len(batch.ticks) + sum(batch.rejected.values()) + batch.history
        self.batches.append(batch)
        self.ticks += batch.ticks.ticks()
        self.rejected.update(batch.rejected)
        self.ignored.update(batch.ignored)
        self.samples += batch.samples
        self.gaps += batch.gaps
        self.history += batch.history
        self.received += batch.received

    @property
    def stats(self) -> SourceStats:
        """Figures of the first source."""
        return self.feed.stats()[0]

    @property
    def ids(self) -> list[int | str | None]:
        """Trade ids in order of arrival."""
        return [tick.trade_ref for tick in self.ticks]

    @property
    def unique_ids(self) -> list[int | str | None]:
        """Trade ids after ingest has removed duplicates."""
        new = Deduplicator()
        return [ref for batch in self.batches for ref in [t.trade_ref for t in new.new_only(batch.ticks).ticks()]]


def binance(url: str, *symbols: str, **changes: Any) -> dict[str, Any]:
    """Return the settings of a source at a local venue."""
    return {"venue": "binance", "symbols": symbols or ("BTCUSDT",), "url": url} | changes


def closed_port() -> int:
    """Return a port of this machine that has no listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
