"""View of a running session for metrics and reports: its state, its channels and its counters.

The session implements `SessionView`; any thread may read it at any time.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Protocol

from hybrid_platform.domain.isolation import Denied
from hybrid_platform.observability.counters import Counters
from hybrid_platform.settings.runtime import OnFull


class PipelineState(StrEnum):
    """How far a pipeline is in its life."""

    RUNNING = "RUNNING"
    DRAINING = "DRAINING"
    """Asked to stop; finishes what is in flight."""
    DRAINED = "DRAINED"
    FAILED = "FAILED"


class ChannelStats(NamedTuple):
    """Snapshot of one channel, in events (S6)."""

    name: str
    capacity: int
    policy: OnFull
    sent: int
    """Offered by producers."""
    received: int
    """Taken by the consumer."""
    dropped: int
    """Evicted as the oldest, or refused because the channel was full."""
    depth: int
    """Waiting now."""
    max_depth: int
    """The most that ever waited."""
    blocked: int
    """How often a producer had to wait."""
    refused: int = 0
    """The guaranteed part of ``dropped``: data that must not be evicted, and was lost."""

    @property
    def balances(self) -> bool:
        """Whether every event is accounted for."""
        return self.sent == self.received + self.dropped + self.depth


class HeartbeatCounts(Protocol):
    """Counts of a session's heartbeats (G4)."""

    late: int
    skipped: int
    longest_late_ms: int

    @property
    def count(self) -> int:
        """How many heartbeats there were."""


class SessionView(Protocol):
    """A running session as seen from outside its pipeline."""

    counters: Counters

    @property
    def heartbeats(self) -> HeartbeatCounts:
        """Counts of the heartbeats so far."""

    @property
    def state(self) -> PipelineState:
        """How far the session is."""

    @property
    def persist_errors(self) -> int:
        """Failed writes and failures of the persist stage."""

    @property
    def lock_timeouts(self) -> int:
        """How often the busy timeout ran out on a locked database (S12)."""

    @property
    def sample_every(self) -> int:
        """Every n-th tick passes the throttle ladder (S15); 1 when nothing is sampled out."""

    def channel_stats(self) -> tuple[ChannelStats, ...]:
        """Return every channel, in the order in which a tick meets them."""

    def denied(self) -> tuple[Denied, ...]:
        """Return what strategy and execution tried and were denied (I1)."""
