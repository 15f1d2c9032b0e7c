"""``isolation: thread``: strategy and execution as threads of this process, each behind its own filter (I1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.isolation import Denied, IsolationEvidence
from hybrid_platform.observability.session_view import ChannelStats
from hybrid_platform.sandbox.threads import ThreadSandbox
from hybrid_platform.session.factories import Channels, build_runner_and_engine
from hybrid_platform.session.stage import OnFailure, Stage, StageStatus
from hybrid_platform.session.stages.decision_sink import DecisionSink
from hybrid_platform.session.stages.execution import ExecutionStage
from hybrid_platform.session.stages.strategy import StrategyStage
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.strategies.base import Strategy
from hybrid_platform.trading.accounts import AccountSnapshot


class ThreadHost:
    """Runs strategy and execution as threads of this process."""

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
        self._sandbox = ThreadSandbox()
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
                scope=self._sandbox.stage,
            ),
            ExecutionStage(
                engine,
                channels.signal,
                decisions,
                live=live,
                clock=clock,
                on_failure=on_failure,
                scope=self._sandbox.stage,
            ),
        )

    def start(self) -> None:
        """Start the sandbox, then both stages."""
        self._sandbox.start()
        for stage in reversed(self.stages):
            stage.start()

    def statuses(self) -> tuple[StageStatus, ...]:
        """Return the status of both stages."""
        return tuple(stage.status for stage in reversed(self.stages))

    def stats(self) -> tuple[ChannelStats, ...]:
        """Return the signal channel."""
        return (self._signal.stats(),)

    def denied(self) -> tuple[Denied, ...]:
        """Return what the audit hook counted."""
        return self._sandbox.denied()

    def account(self) -> AccountSnapshot | None:
        """Return the engine's account."""
        return self._engine.account.snapshot()

    def close_out(self, timeout_s: float) -> IsolationEvidence:
        """Return what was read back of the stages' threads."""
        evidence = self._sandbox.evidence()
        self._sandbox.close()
        return evidence
