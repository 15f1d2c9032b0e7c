"""The watchdog: finds a stage that is stuck or dead, a silent feed and a writer that hangs (S13).

in: the status of every stage, several times a second from the supervising thread · out: at most one finding
with its name and exit code, so that the session ends instead of hanging. A busy stage without progress is
stuck; one that is slow but progresses, or waits for more, is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.errors import NetworkError, PlatformError, StorageError
from hybrid_platform.session.stage import Stage, StageStatus
from hybrid_platform.settings.runtime import OnFull
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.connection import LOCK_WAIT_SECONDS

PERSIST = "persist"
WRITER_SLACK_S = 15.0
"""Extra time after which the writer would have reported itself what blocks it, usually a lock."""


class StageStuck(PlatformError):
    """A stage made no progress; its thread is abandoned."""


class StageDead(PlatformError):
    """A stage's thread ended without reporting why."""


class FeedSilent(NetworkError):
    """A live feed delivered nothing for too long and did not end itself: check the venue and the network."""


class WriterStuck(StorageError):
    """A write to the database does not return: check the disk."""


class Finding(NamedTuple):
    """An error and the part of the session that it concerns."""

    name: str
    error: PlatformError
    can_drain: bool = False
    """Whether the other stages can still drain."""


def feed_timeout_s(settings: SessionSettings) -> float | None:
    """Return how long a feed may deliver nothing, or None without limit (a replay, or switched off)."""
    feed, watchdog = settings.feed, settings.watchdog
    timeout_s = watchdog.feed_seconds
    if feed.websocket is not None:
        venue = feed.websocket
        # Each of the feed's attempts may take this long. Then the feed itself ends the session, with a better reason.
        own = venue.max_failures * (venue.stall_seconds + venue.open_seconds + venue.backoff_max_seconds)
        return timeout_s or 2 * own
    if feed.synthetic is not None:
        rate = feed.synthetic.ticks_per_second
        timeout_s = timeout_s or watchdog.stuck_seconds
        return None if timeout_s is None else timeout_s + (0 if rate == "max" else 1 / rate)
    return None


class Watched(Protocol):
    """A pipeline as its watchdog sees it."""

    @property
    def all_stages(self) -> Sequence[Stage]:
        """Every stage, ingest first."""

    @property
    def rows_received(self) -> int:
        """Rows that the feed has read."""

    def statuses(self) -> Sequence[StageStatus]:
        """Return the status of every stage, from the end of the pipeline to its beginning."""


class Watchdog:
    """Owned by the supervising thread."""

    def __init__(self, settings: SessionSettings, pipeline: Watched, *, feed: str, started: int) -> None:
        """Start watching at the monotonic instant ``started``; ``feed`` is the feed's name."""
        seconds = settings.watchdog.stuck_seconds
        self._stuck_ns = None if seconds is None else int(seconds * NS_PER_S)
        writer_s = LOCK_WAIT_SECONDS + settings.storage.busy_timeout_ms / 1000 + WRITER_SLACK_S
        self._writer_ns = max(self._stuck_ns or 0, int(writer_s * NS_PER_S))
        timeout_s = feed_timeout_s(settings)
        self._feed_ns = None if timeout_s is None else int(timeout_s * NS_PER_S)
        # If full channels block the sender, a stage without progress may only be waiting for the next one.
        self._is_blocking = not settings.is_live_feed or settings.channels.on_full is OnFull.BLOCK
        self._pipeline = pipeline
        self._feed = feed
        self._changed: dict[str, tuple[StageStatus, int]] = {}
        """The last status of each stage, and since when it has not changed."""
        self._received = (0, started)

    def check(self, now: int, *, is_draining: bool) -> Finding | None:
        """Return what is wrong at a monotonic instant, or None."""
        gone = (stage.name for stage in self._pipeline.all_stages if not stage.is_alive and not stage.has_ended)
        dead = next(gone, None)
        if dead is not None:
            return Finding(dead, StageDead("expected its thread to run or to say why it ended, got gone"))
        stuck = self._find_stuck(now)
        if stuck is not None or is_draining:
            return stuck
        return self._find_silent_feed(now)

    def _find_stuck(self, now: int) -> Finding | None:
        if self._stuck_ns is None:
            return None
        is_held_up = False
        for status in self._pipeline.statuses():
            before, since = self._changed.get(status.name, (None, now))
            if before != status or not status.is_busy or is_held_up:
                self._changed[status.name] = (status, now)
            elif now - since >= (self._writer_ns if status.name == PERSIST else self._stuck_ns):
                return _describe_stuck(status, (now - since) / NS_PER_S)
            is_held_up = is_held_up or (self._is_blocking and status.is_busy)
        return None

    def _find_silent_feed(self, now: int) -> Finding | None:
        ingest = self._pipeline.all_stages[0]
        received, is_waiting = self._pipeline.rows_received, not ingest.progress.is_busy
        before, since = self._received
        if received != before or not is_waiting or not ingest.is_alive:
            self._received = (received, now)
        elif self._feed_ns is not None and now - since >= self._feed_ns:
            seconds = self._feed_ns / NS_PER_S
            return Finding(
                "feed",
                FeedSilent(f"{self._feed}: expected data within {seconds:g} s, got none, and the feed did not give up"),
                can_drain=True,
            )
        return None


def _describe_stuck(status: StageStatus, seconds: float) -> Finding:
    if status.name == PERSIST:
        what = f"expected a write to come back, got waiting for {seconds:.1f} s: the database's disk does not answer"
        return Finding(status.name, WriterStuck(what))
    return Finding(status.name, StageStuck(f"expected {status.expectation}, got none for {seconds:.1f} s: stuck"))
