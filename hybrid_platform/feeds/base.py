"""The interface between feeds and the pipeline: a `Feed` yields `FeedBatch` objects, each with its own accounting.

in: a source (a clock and a seed, files, sockets) · out: unnumbered ticks and counted rejections.
``received = len(ticks) + rejected + history`` holds for every batch; ingest removes duplicates and samples.
A feed waits only through the `Stopper` that it is given (S5, S13).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from hybrid_platform.domain.clocks import Stopper
from hybrid_platform.domain.orders import GapRecord
from hybrid_platform.domain.ticks import TickBatch

ResumePoints = Mapping[tuple[str, str], tuple[int | str, int]]
"""Id and event time (ns) of the last trade that an earlier session saw, by ``(venue, symbol)``."""
BETWEEN_SESSIONS = "between_sessions"
"""Cause of a gap between the last trade of an earlier session and the first one of this session."""


class Rejection(NamedTuple):
    """One malformed row or message."""

    cause: str
    """Short, stable, lower_snake: ``bad_price``, ``bad_time``, ``bad_symbol``, ``bad_json`` …"""
    where: str
    """``trades.csv:17``, or the frame's number."""
    sample: str
    """The rejected text: printable, one line, at most 200 characters."""


class FeedBatch(NamedTuple):
    """Ticks and rejections that a feed read together."""

    ticks: TickBatch
    """Valid ticks in order; ``seq`` 0. A ``ts_recv`` of 0 asks ingest to stamp the receive time."""
    received: int
    """Rows or trades seen, good and bad."""
    rejected: Mapping[str, int] = {}
    """Cause -> count."""
    samples: tuple[Rejection, ...] = ()
    """A few of the rejections, for the log."""
    history: int = 0
    """Trades from before the subscription, left out on purpose."""
    gaps: tuple[GapRecord, ...] = ()
    """Trades that a live venue reported and we did not receive, to be persisted."""
    ignored: Mapping[str, int] = {}
    """Kind -> count of messages without a subscribed trade (acks, heartbeats, other channels), not in ``received``."""


class Store(Protocol):
    """Files that a feed may write: names below the data directory; links are not followed."""

    def open(self, name: str | Path, flags: int) -> int:
        """Open a file with ``os.open`` flags, creating missing directories, and return its descriptor."""

    def resolve(self, name: str | Path) -> Path:
        """Return the absolute path of a name."""


@runtime_checkable
class ReportsSources(Protocol):
    """A feed that reports figures for each of its sources."""

    def stats(self) -> tuple[Any, ...]:
        """Return one record per source; may be called from any thread."""


class Feed(Protocol):
    """A source of ticks. One thread calls it: open, then batches to the end, then close."""

    @property
    def name(self) -> str:
        """The feed's name in the ledger."""

    def open(self) -> None:
        """Check the source; raise ConfigError for every fault that can be found before anything starts."""

    def batches(self, stop: Stopper) -> Iterator[FeedBatch]:
        """Yield batches until the source ends or ``stop`` is set.

        Raises FeedParseError (after all good rows) or NetworkError.
        """

    def close(self) -> None:
        """Release the source; safe to call twice."""
