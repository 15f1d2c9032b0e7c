"""The strategy host: where strategy and execution run, as the pipeline sees it (I1).

A host stands between the tick channel and the decisions. It runs the same two stages as threads of this
process or in a sandboxed process, and keeps user code away from the feed, the database and the evidence.
"""

from __future__ import annotations

from typing import Protocol

from hybrid_platform.domain.isolation import Denied, IsolationEvidence
from hybrid_platform.observability.session_view import ChannelStats
from hybrid_platform.session.stage import Stage, StageStatus
from hybrid_platform.trading.accounts import AccountSnapshot


class StrategyHost(Protocol):
    """The stages between the tick channel and the decisions."""

    stages: tuple[Stage, ...]

    def start(self) -> None:
        """Start its stages, from the end of the pipeline to its beginning."""

    def statuses(self) -> tuple[StageStatus, ...]:
        """Return the status of its stages, from the end of the pipeline to its beginning."""

    def stats(self) -> tuple[ChannelStats, ...]:
        """Return its channels: the pipes, if there are any, and the signal channel."""

    def denied(self) -> tuple[Denied, ...]:
        """Return what strategy and execution have tried so far and were denied."""

    def account(self) -> AccountSnapshot | None:
        """Return the engine's account after the stages have ended, or None if it was not reported."""

    def close_out(self, timeout_s: float) -> IsolationEvidence:
        """Release everything after the stages have ended; return what was read back of the isolation."""
