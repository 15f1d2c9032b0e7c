"""Tell a stage that is stuck from one that is dead, and both from a silent feed and a writer that hangs (S13).

in: what each stage is at, looked at several times a second by the supervising thread · out: at most one
finding with its name and exit code, after which the session ends instead of hanging. A stage is stuck
that is at work and does not move; one that is slow and moves, or waits for more, is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.errors import NetworkError, PlatformError, StorageError
from hybrid_platform.session.stage import Stage, StageStatus
from hybrid_platform.settings.runtime import OnFull
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.connection import LOCK_WAIT_SECONDS

PERSIST = "persist"
WRITER_SLACK_SECONDS = 15.0
"""The writer names what keeps it itself, a lock above all: only after that is it stuck."""


class StageStuck(PlatformError):
    """A stage stopped moving; its thread is left behind."""


class StageDead(PlatformError):
    """A stage's thread ended without a word."""


class FeedSilent(NetworkError):
    """A live feed gave nothing for too long, and did not end itself: look at the venue and the line."""


class WriterStuck(StorageError):
    """A write to the database does not come back: look at the disk."""


class Finding(NamedTuple):
    """What is wrong, and with whom."""

    name: str
    error: PlatformError
    can_drain: bool = False
    """Whether the other stages can still end by themselves."""


def feed_patience_s(settings: SessionSettings) -> float | None:
    """Return how long a feed may give nothing at all; None: for ever (a replay, or switched off)."""
    feed, watchdog = settings.feed, settings.watchdog
    patience = watchdog.feed_seconds
    if feed.websocket is not None:
        venue = feed.websocket
        # Each of its own tries may take so long; then it ends the session itself, with more to say.
        own = venue.max_failures * (venue.stall_seconds + venue.open_seconds + venue.backoff_max_seconds)
        return patience or 2 * own
    if feed.synthetic is not None:
        rate = feed.synthetic.ticks_per_second
        patience = patience or watchdog.stuck_seconds
        return None if patience is None else patience + (0 if rate == "max" else 1 / rate)
    return None


class Watchdog:
    """Owned by the supervising thread."""

    def __init__(
        self,
        settings: SessionSettings,
        statuses: Callable[[], Sequence[StageStatus]],
        stages: Sequence[Stage],
        *,
        received: Callable[[], int],
        feed: str,
        started: int,
    ) -> None:
        """``statuses``: from the last stage to ingest; ``received``: rows from the feed."""
        seconds = settings.watchdog.stuck_seconds
        self._stuck_ns = None if seconds is None else int(seconds * NS_PER_S)
        writer_s = LOCK_WAIT_SECONDS + settings.storage.busy_timeout_ms / 1000 + WRITER_SLACK_SECONDS
        self._writer_ns = max(self._stuck_ns or 0, int(writer_s * NS_PER_S))
        patience = feed_patience_s(settings)
        self._feed_ns = None if patience is None else int(patience * NS_PER_S)
        # Where a full channel makes whoever puts wait, a stage that does not move may only be waiting for the next.
        self._is_blocking = not settings.is_live_feed or settings.channels.on_full is OnFull.BLOCK
        self._signs = statuses
        self._stages = stages
        self._received = received
        self._feed = feed
        self._moved: dict[str, tuple[StageStatus, int]] = {}
        self._came = (0, started)

    def check(self, now: int, *, is_draining: bool) -> Finding | None:
        """Return what is wrong at a monotonic instant, if anything is."""
        dead = next((stage.name for stage in self._stages if not stage.is_alive and not stage.has_ended), None)
        if dead is not None:
            return Finding(dead, StageDead("expected its thread to run or to say why it ended, got gone"))
        stuck = self._stuck(now)
        if stuck is not None or is_draining:
            return stuck
        return self._silent(now)

    def _stuck(self, now: int) -> Finding | None:
        if self._stuck_ns is None:
            return None
        is_held_up = False
        for status in self._signs():
            before, since = self._moved.get(status.name, (None, now))
            if before != status or not status.is_busy or is_held_up:
                self._moved[status.name] = (status, now)
            elif now - since >= (self._writer_ns if status.name == PERSIST else self._stuck_ns):
                return _stuck(status, (now - since) / NS_PER_S)
            is_held_up = is_held_up or (self._is_blocking and status.is_busy)
        return None

    def _silent(self, now: int) -> Finding | None:
        received, is_waiting = self._received(), not self._stages[0].progress.is_busy
        before, since = self._came
        if received != before or not is_waiting or not self._stages[0].is_alive:
            self._came = (received, now)
        elif self._feed_ns is not None and now - since >= self._feed_ns:
            seconds = self._feed_ns / NS_PER_S
            return Finding(
                "feed",
                FeedSilent(f"{self._feed}: expected data within {seconds:g} s, got none, and the feed did not give up"),
                can_drain=True,
            )
        return None


def _stuck(status: StageStatus, seconds: float) -> Finding:
    if status.name == PERSIST:
        what = f"expected a write to come back, got waiting for {seconds:.1f} s: the database's disk does not answer"
        return Finding(status.name, WriterStuck(what))
    return Finding(status.name, StageStuck(f"expected {status.expectation}, got none for {seconds:.1f} s: stuck"))
