"""Counters of a session: each has one owner thread that adds to it, and any thread may read it.

A plain integer attribute that one thread writes is safe to read from others, with and without the
GIL. Counts that must agree with each other are read for the ledger after the threads have ended.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hybrid_platform.domain.commands import Command, TradingState
from hybrid_platform.domain.statistics import Histogram

LAG_BUCKETS_S = (-1.0, -0.1, 0.0, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)
"""Negative bounds too, because two clocks can disagree."""
DECISION_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
COMMIT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def _histogram(bounds_s: tuple[float, ...]) -> Callable[[], Histogram]:
    return lambda: Histogram(bounds_s)


@dataclass(slots=True)
class FeedCounters:
    """Owned by ingest."""

    received: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicate: int = 0
    sampled_out: int = 0
    history: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    """Rejections by cause."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Messages without a trade of a subscribed instrument, by kind."""
    gaps: int = 0
    lag_ns: deque[int] = field(default_factory=lambda: deque(maxlen=4_096))
    """Receipt minus event time of the last tick of recent batches; may be negative."""
    lag: Histogram = field(default_factory=_histogram(LAG_BUCKETS_S))
    """The same for the last tick of every batch."""
    first_event: int | None = None
    last_event: int | None = None

    @property
    def balances(self) -> bool:
        """Whether every row that was received is accounted for."""
        parts = self.accepted + self.rejected + self.duplicate + self.sampled_out + self.history
        return self.received == parts and self.rejected == sum(self.causes.values())


@dataclass(slots=True)
class DecisionCounters:
    """Owned by the thread that sends decisions to the persist channel."""

    signals: int = 0
    orders: int = 0
    trades: int = 0
    vetoes: int = 0
    veto_reasons: Counter[str] = field(default_factory=Counter)
    decision_ns: deque[int] = field(default_factory=lambda: deque(maxlen=65_536))
    """From receipt of a tick to its decision being sent to the channel; live feeds only."""
    decision: Histogram = field(default_factory=_histogram(DECISION_BUCKETS_S))
    """The same for every signal."""
    command: Command | None = None
    """The last command, as the engine journalled it."""
    halts: int = 0
    """Commands that halted or reduced trading."""

    @property
    def trading_state(self) -> TradingState:
        """What execution may do now."""
        return TradingState.ACTIVE if self.command is None else self.command.kind.state


@dataclass(slots=True)
class PersistCounters:
    """Owned by the persist stage."""

    rows: int = 0
    """Rows committed."""
    ticks: int = 0
    commits: int = 0
    errors: int = 0
    longest_commit_ns: int = 0
    commit: Histogram = field(default_factory=_histogram(COMMIT_BUCKETS_S))


@dataclass(slots=True)
class Counters:
    """All counters of one session."""

    feed: FeedCounters = field(default_factory=FeedCounters)
    decisions: DecisionCounters = field(default_factory=DecisionCounters)
    persist: PersistCounters = field(default_factory=PersistCounters)
