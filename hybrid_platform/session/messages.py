"""The messages that travel through the channels, and how many events each counts as."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hybrid_platform.domain.commands import Command
from hybrid_platform.domain.orders import DecisionStep, Record
from hybrid_platform.domain.ticks import TickBatch, concat_batches
from hybrid_platform.trading.adapters.live import OrderRequest
from hybrid_platform.trading.order import Report

MAX_COALESCED = 8
"""Waiting single ticks are processed together, this many at most, because a signal waits for all of them."""


class TickMessage(NamedTuple):
    """ingest -> strategy and ingest -> persist: each tick is an event, and a batch can be split."""

    batch: TickBatch

    @property
    def events(self) -> int:
        """One per tick."""
        return len(self.batch)

    def split(self, first: int) -> tuple[TickMessage, TickMessage]:
        """Split after ``first`` ticks without copying."""
        return TickMessage(self.batch[:first]), TickMessage(self.batch[first:])


class StepMessage(NamedTuple):
    """strategy -> execution: each signal is an event; ticks and timers come with it."""

    step: DecisionStep

    @property
    def events(self) -> int:
        """One per signal."""
        return len(self.step.signals)

    def split(self, first: int) -> None:
        """Return None: a step cannot be split, its signals belong to its ticks."""


class ControlMessage(NamedTuple):
    """A command or a live venue's report, sent to execution at its place between the ticks; counts as no event."""

    content: Command | Report

    @property
    def events(self) -> int:
        """Always 0."""
        return 0

    def split(self, first: int) -> None:
        """Return None: a control message cannot be split."""


class RequestMessage(NamedTuple):
    """sandboxed process -> live execution: each order or cancel is an event."""

    requests: tuple[OrderRequest, ...]

    @property
    def events(self) -> int:
        """One per request."""
        return len(self.requests)

    def split(self, first: int) -> None:
        """Return None: the requests of one step stay together."""


class RecordMessage(NamedTuple):
    """execution -> persist: each audit record is an event, and is never evicted."""

    records: tuple[Record, ...]

    @property
    def events(self) -> int:
        """One per record."""
        return len(self.records)

    def split(self, first: int) -> tuple[RecordMessage, RecordMessage]:
        """Split after ``first`` records."""
        return RecordMessage(self.records[:first]), RecordMessage(self.records[first:])


def coalesce(messages: Iterable[TickMessage | ControlMessage]) -> Iterator[TickMessage | ControlMessage]:
    """Yield the messages in order, small neighbouring batches joined: a batch costs more than its ticks."""
    waiting: list[TickBatch] = []
    count = 0
    for message in messages:
        batch = message.batch if isinstance(message, TickMessage) else None
        if waiting and (batch is None or count + len(batch) > MAX_COALESCED or not _can_join(waiting[0], batch)):
            yield TickMessage(concat_batches(waiting))
            waiting, count = [], 0
        if batch is None:
            yield message
        else:
            waiting.append(batch)
            count += len(batch)
    if waiting:
        yield TickMessage(concat_batches(waiting))


def split_into_single(messages: Iterable[TickMessage | ControlMessage]) -> Iterator[TickMessage | ControlMessage]:
    """Yield the messages in order, one tick each, so that no signal waits for the ticks after its own."""
    for message in messages:
        rest: TickMessage | ControlMessage | None = message
        while isinstance(rest, TickMessage) and rest.events > 1:
            first, rest = rest.split(1)
            yield first
        if rest is not None:
            yield rest


def _can_join(batch: TickBatch, other: TickBatch) -> bool:
    """Return whether two batches have trade ids of the same type, which joining preserves."""
    one, another = batch.trade_ref, other.trade_ref
    return one is another if one is None or another is None else one.dtype == another.dtype
