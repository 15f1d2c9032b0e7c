"""Builders of a session's channels, strategy runner and engine; the sandboxed process uses them too.

Capacities and policies of channels follow the feed unless they are set (S6).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.observability.session_view import ChannelStats
from hybrid_platform.session.channel import Channel
from hybrid_platform.session.messages import ControlMessage, RecordMessage, StepMessage, TickMessage
from hybrid_platform.settings.runtime import OnFull
from hybrid_platform.settings.session import Mode, SessionSettings
from hybrid_platform.strategies.base import Strategy
from hybrid_platform.strategies.runner import StrategyRunner
from hybrid_platform.trading.engine import ExecutionEngine

LIVE_CAPACITIES = {"tick": 256, "signal": 64, "persist": 512}
LIVE_POLICIES = {"tick": OnFull.DROP_OLDEST, "signal": OnFull.FAIL, "persist": OnFull.DROP_OLDEST}
REPLAY_CAPACITIES = {"tick": 16_384, "signal": 8_192, "persist": 32_768}
"""Room for chunks: a replay blocks instead of dropping, so these bound memory, not freshness."""

PERSIST_PRODUCERS = 3
"""Ingest (ticks), execution (decisions) and the supervisor (heartbeats)."""


class Channels(NamedTuple):
    """The session's channels."""

    tick: Channel[TickMessage | ControlMessage]
    signal: Channel[StepMessage | ControlMessage]
    persist: Channel[TickMessage | RecordMessage]

    def stats(self) -> tuple[ChannelStats, ...]:
        """Return a snapshot of each."""
        return tuple(channel.stats() for channel in self)

    def abort(self) -> None:
        """Wake every waiting stage with ChannelAborted."""
        for channel in self:
            channel.abort()


def build_channels(settings: SessionSettings) -> Channels:
    """Return fresh, open channels."""
    capacities = {}
    for name in LIVE_CAPACITIES:
        stated = getattr(settings.channels, name)
        capacities[name] = stated or (LIVE_CAPACITIES if settings.is_live_feed else REPLAY_CAPACITIES)[name]
    policies = {
        name: settings.channels.on_full or (LIVE_POLICIES[name] if settings.is_live_feed else OnFull.BLOCK)
        for name in LIVE_CAPACITIES
    }
    return Channels(
        # In mode LIVE the venue's reports come back through this channel, so it has a second producer.
        Channel("tick", capacities["tick"], policies["tick"], producers=2 if settings.mode is Mode.LIVE else 1),
        Channel("signal", capacities["signal"], policies["signal"]),
        Channel("persist", capacities["persist"], policies["persist"], producers=PERSIST_PRODUCERS),
    )


def build_runner_and_engine(
    settings: SessionSettings, strategy: Strategy[Any], table: InstrumentTable
) -> tuple[StrategyRunner, ExecutionEngine]:
    """Return a new runner of the strategy and a new trading engine."""
    # The latencies of a paper venue must end while the market is silent too.
    execution_timer = settings.is_live_feed and settings.mode is Mode.PAPER
    runner = StrategyRunner(
        strategy, table, warm_start_ticks=settings.warm_start_ticks, execution_timer=execution_timer
    )
    return runner, ExecutionEngine(settings, table)
