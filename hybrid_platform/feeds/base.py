"""What a feed is to the pipeline: an iterator of `FeedBatch`, each with its own exact accounting.

in: a source (a clock and a seed, files, sockets) · out: unnumbered ticks and counted rejections.
``received = len(ticks) + rejected + history`` holds for every batch; duplicates and sampling are
ingest's business. A feed waits only through the `Stopper` it is given (SPEC S5, S13).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from hybrid_platform.domain.orders import GapRecord
from hybrid_platform.domain.ticks import TickBatch

Earlier = Mapping[tuple[str, str], tuple[int | str, int]]
"""The last trade that an earlier session saw, its id and event time (ns), by ``(venue, symbol)``."""
BETWEEN_SESSIONS = "between_sessions"
"""The cause of a gap to what an earlier session saw last."""


class Rejection(NamedTuple):
    """One malformed row or message."""

    cause: str
    """Short, stable, lower_snake: ``bad_price``, ``bad_time``, ``bad_symbol``, ``bad_json`` …"""
    where: str
    """``trades.csv:17``, or the frame's number."""
    sample: str
    """What stood there: printable, one line, at most 200 characters."""


class FeedBatch(NamedTuple):
    """What a feed read in one go."""

    ticks: TickBatch
    """Valid ticks in order; ``seq`` 0. ``ts_recv`` 0 means: ingest stamps it now."""
    received: int
    """Rows or trades seen, good and bad."""
    rejected: Mapping[str, int] = {}
    """Cause -> count."""
    samples: tuple[Rejection, ...] = ()
    """A few of the rejections, for the log."""
    history: int = 0
    """Trades from before the subscription, knowingly left out."""
    gaps: tuple[GapRecord, ...] = ()
    """Trades that a live venue had and we did not get, to be persisted."""
    ignored: Mapping[str, int] = {}
    """Kind -> count of messages without a trade of ours (acks, heartbeats, foreign channels); not in ``received``."""


class Stopper(Protocol):
    """How a feed is told to end, and the only thing it may wait on (``threading.Event`` fits)."""

    def is_set(self) -> bool:
        """Return whether the feed should end."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until told to end or for ``timeout`` seconds; return whether told to end."""


class Store(Protocol):
    """Where a feed may write: names below the data directory, with no link followed."""

    def open(self, name: str | Path, flags: int) -> int:
        """Open a file with ``os.open`` flags and return its descriptor; makes missing directories."""

    def resolve(self, name: str | Path) -> Path:
        """Return the absolute path of a name."""


@runtime_checkable
class ReportsSources(Protocol):
    """A feed that can say what became of each of its sources."""

    def stats(self) -> tuple[Any, ...]:
        """Return one record a source; any thread may ask."""


class Feed(Protocol):
    """A source of ticks. One thread calls it: open, then batches to the end, then close."""

    @property
    def name(self) -> str:
        """The feed's name in the ledger."""

    def open(self) -> None:
        """Check the source; raise ConfigError for what can be known before anything starts."""

    def batches(self, stop: Stopper) -> Iterator[FeedBatch]:
        """Yield batches until the source ends or ``stop`` is set.

        Raises FeedParseError (after having yielded all good rows) or NetworkError.
        """

    def close(self) -> None:
        """Release the source; safe to call twice."""
