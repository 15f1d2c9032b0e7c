"""The interface of a session to LIVE trading, which is passed in from above (S14, L1).

`LiveGate` opens once all conditions hold, `LiveRelease` builds the stage that talks to the venue,
and `LiveStage` is that stage as the pipeline sees it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.commands import Command
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import Record
from hybrid_platform.domain.records import PressureGate
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.evidence.records import LiveFigures
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.observability.session_view import ChannelStats
from hybrid_platform.session.channel import Channel
from hybrid_platform.session.messages import ControlMessage, TickMessage
from hybrid_platform.session.stage import OnFailure, Stage
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.trading.adapters.live import OrderRequest


class LiveStage(Stage, ABC):
    """The only stage that sends orders to a venue; the methods here are called by other threads."""

    @abstractmethod
    def open(self, session_id: str) -> None:
        """Connect to the venue before any stage starts; raise PlatformError if that fails."""

    @abstractmethod
    def abandon(self) -> None:
        """Close the connection of a session that failed to start."""

    @abstractmethod
    def on_requests(self, requests: Sequence[OrderRequest]) -> None:
        """Queue the engine's order requests; raise OverloadError if there are too many."""

    @abstractmethod
    def on_ticks(self, batch: TickBatch) -> None:
        """Take note of the last prices."""

    @abstractmethod
    def on_records(self, records: Sequence[Record]) -> None:
        """Take note of records that are on their way to the database."""

    @abstractmethod
    def on_command(self, command: Command) -> None:
        """Obey a kill-switch command at once, before the engine has it."""

    @abstractmethod
    def close(self) -> None:
        """Take no more order requests."""

    @abstractmethod
    def wait_for_end(self, timeout_s: float) -> bool:
        """Wait until every order is withdrawn or ``timeout_s`` has passed; return whether the stage has ended."""

    @abstractmethod
    def stats(self) -> ChannelStats:
        """Return the channel of order requests."""

    @abstractmethod
    def figures(self) -> LiveFigures:
        """Return the evidence of what was sent and reported."""


class LiveWiring(NamedTuple):
    """The connections of a live stage."""

    settings: SessionSettings
    table: InstrumentTable
    ticks: Channel[TickMessage | ControlMessage]
    """The venue's reports go back to the engine through this channel; the stage is its second producer."""
    feed_ended: Callable[[], bool]
    clock: Clock
    log: SessionLog
    on_failure: OnFailure


class LiveRelease(Protocol):
    """Permission to trade live in this session, already used up."""

    def build_stage(self, wiring: LiveWiring) -> LiveStage:
        """Return the stage, not yet started."""


class LiveGate(Protocol):
    """The gate of mode LIVE."""

    def open(self, context: RunContext, pressure: PressureGate) -> LiveRelease:
        """Judge every condition once more and use the authorization up; raise GateRefused if one is unmet.

        ``pressure`` is the reading that preflight took.
        """
