"""Where strategy and execution run: as threads of this process, or behind the guard in another (I1).

Both hold the same two stages between the tick channel and the decisions, end with what was read back
of their guard, and never let user code near the feed, the database or the evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.isolation import Denied, IsolationEvidence
from hybrid_platform.live.execution import LiveExecution
from hybrid_platform.observability.session_view import ChannelStats
from hybrid_platform.sandbox.threads import ThreadGuards
from hybrid_platform.session.factories import Channels, build_runner_and_engine
from hybrid_platform.session.stage import OnFailure, Stage, StageStatus
from hybrid_platform.session.stages.decision_sink import DecisionSink
from hybrid_platform.session.stages.execution import ExecutionStage
from hybrid_platform.session.stages.strategy import StrategyStage
from hybrid_platform.session.strategy_host.process import (
    LIVE_WINDOW,
    REPLAY_WINDOW,
    CreditWindow,
    ResultReceiver,
    StrategyProcess,
    TickSender,
    pipe_stats,
)
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.strategies.base import Strategy
from hybrid_platform.trading.accounts import AccountSnapshot


class StrategyHost(Protocol):
    """What lies between the tick channel and the decisions."""

    stages: tuple[Stage, ...]

    def statuses(self) -> tuple[StageStatus, ...]:
        """Return what its stages are at, from the end of the pipeline to its beginning."""

    def stats(self) -> tuple[ChannelStats, ...]:
        """Return its channels: pipes, where there are any, and the signal channel."""

    def denied(self) -> tuple[Denied, ...]:
        """Return what strategy and execution tried and were denied, so far."""

    def account(self) -> AccountSnapshot | None:
        """Return the engine's account once the stages ended; None where it did not say."""

    def close_out(self, timeout_s: float) -> IsolationEvidence:
        """Release everything once the stages ended; return what was read back."""


class ThreadHost:
    """Strategy and execution as threads of this process, each behind a filter of its own."""

    def __init__(
        self,
        settings: SessionSettings,
        strategy: Strategy[Any],
        table: InstrumentTable,
        channels: Channels,
        decisions: DecisionSink,
        *,
        last_seq: Callable[[], int],
        clock: Clock,
        on_failure: OnFailure,
    ) -> None:
        runner, engine = build_runner_and_engine(settings, strategy, table)
        self._engine = engine
        self._signal = channels.signal
        self._guards = ThreadGuards()
        live = settings.is_live_feed
        self.stages: tuple[Stage, ...] = (
            StrategyStage(
                runner,
                channels.tick,
                channels.signal,
                last_seq=last_seq,
                live=live,
                clock=clock,
                on_failure=on_failure,
                guard=self._guards.stage,
            ),
            ExecutionStage(
                engine,
                channels.signal,
                decisions,
                live=live,
                clock=clock,
                on_failure=on_failure,
                guard=self._guards.stage,
            ),
        )

    def statuses(self) -> tuple[StageStatus, ...]:
        """Return what both stages are at."""
        return tuple(stage.status for stage in reversed(self.stages))

    def stats(self) -> tuple[ChannelStats, ...]:
        """Return the signal channel."""
        return (self._signal.stats(),)

    def denied(self) -> tuple[Denied, ...]:
        """Return what the audit hook counted."""
        return self._guards.denied()

    def account(self) -> AccountSnapshot | None:
        """Return the engine's account."""
        return self._engine.account.snapshot()

    def close_out(self, timeout_s: float) -> IsolationEvidence:
        """Return what the stages' threads showed."""
        evidence = self._guards.evidence()
        self._guards.close()
        return evidence


class ProcessHost:
    """Strategy and execution in the guarded process; here are only the ends of its pipes."""

    def __init__(
        self,
        settings: SessionSettings,
        guarded: StrategyProcess,
        table: InstrumentTable,
        channels: Channels,
        decisions: DecisionSink,
        *,
        last_seq: Callable[[], int],
        on_failure: OnFailure,
        venue: LiveExecution | None = None,
    ) -> None:
        """``venue``: the way to a live venue, in mode LIVE."""
        self._guarded = guarded
        self._venue = venue
        self._signal = channels.signal
        self._live = settings.is_live_feed
        credit = CreditWindow(LIVE_WINDOW if self._live else REPLAY_WINDOW)
        self._pump = TickSender(
            guarded,
            channels.tick,
            credit,
            table,
            last_seq=last_seq,
            live=self._live,
            on_failure=on_failure,
            venue=venue,
        )
        self._receiver = ResultReceiver(guarded, channels.tick, credit, decisions, on_failure=on_failure, venue=venue)
        ends: tuple[Stage, ...] = (self._pump, self._receiver)
        self.stages = ends if venue is None else (*ends, venue)

    def statuses(self) -> tuple[StageStatus, ...]:
        """Return what both stages said that they are at, and whether the process lives."""
        return (*self._receiver.statuses, self._pump.status)

    def stats(self) -> tuple[ChannelStats, ...]:
        """Return both pipes, and the signal channel as the guarded process counted it at its end."""
        pipes = pipe_stats(self._pump, self._receiver, self._guarded.done, self._live, self._signal.stats())
        return pipes if self._venue is None else (*pipes, self._venue.stats())

    def denied(self) -> tuple[Denied, ...]:
        """Return what the kernel reported, and at the end the audit hook too."""
        return self._guarded.child.denied()

    def account(self) -> AccountSnapshot | None:
        """Return what the guarded process said; None where it did not get to its end."""
        return self._guarded.done.account if self._guarded.done else None

    def close_out(self, timeout_s: float) -> IsolationEvidence:
        """Test and read the guard back a last time, end the process, and return all of it."""
        if self._venue is not None:
            # One that was given up may still be asking for cancels.
            self._venue.await_end(timeout_s)
        return self._guarded.close_out(timeout_s)
