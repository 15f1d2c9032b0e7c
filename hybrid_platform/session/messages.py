"""What travels through the channels, and how many events each counts as."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hybrid_platform.domain.commands import Command
from hybrid_platform.domain.orders import Record
from hybrid_platform.domain.steps import Step
from hybrid_platform.domain.ticks import TickBatch, joined
from hybrid_platform.trading.adapters.live import Want
from hybrid_platform.trading.order import Report

TOGETHER = 8
"""Ticks that came one by one and wait are worked on together, as many at most; a signal waits for all of them."""


class Ticks(NamedTuple):
    """ingest -> strategy and ingest -> persist: each tick is an event, and ticks can be cut apart."""

    batch: TickBatch

    @property
    def events(self) -> int:
        """One a tick."""
        return len(self.batch)

    def split(self, first: int) -> tuple[Ticks, Ticks]:
        """Cut after ``first`` ticks; nothing is copied."""
        return Ticks(self.batch[:first]), Ticks(self.batch[first:])


class Steps(NamedTuple):
    """strategy -> execution: each signal is an event; ticks and timers ride along."""

    step: Step

    @property
    def events(self) -> int:
        """One a signal."""
        return len(self.step.signals)

    def split(self, first: int) -> None:
        """A step is one whole: its signals belong to its ticks."""


class Told(NamedTuple):
    """A command, or what a live venue said, on its way to execution at its place between the ticks; no event."""

    word: Command | Report

    @property
    def events(self) -> int:
        """None."""
        return 0

    def split(self, first: int) -> None:
        """It is one whole."""


class Wants(NamedTuple):
    """guarded process -> live execution: each order or cancel is an event."""

    wants: tuple[Want, ...]

    @property
    def events(self) -> int:
        """One a want."""
        return len(self.wants)

    def split(self, first: int) -> None:
        """What was decided in one step is one whole."""


class Records(NamedTuple):
    """execution -> persist: each audit record is an event, and none is ever evicted."""

    records: tuple[Record, ...]

    @property
    def events(self) -> int:
        """One a record."""
        return len(self.records)

    def split(self, first: int) -> tuple[Records, Records]:
        """Cut after ``first`` records."""
        return Records(self.records[:first]), Records(self.records[first:])


def together(parcels: Iterable[Ticks | Told]) -> Iterator[Ticks | Told]:
    """Yield the same in order, neighbouring ticks joined while they are few: a batch costs more than its ticks."""
    waiting: list[TickBatch] = []
    count = 0
    for parcel in parcels:
        batch = parcel.batch if isinstance(parcel, Ticks) else None
        if waiting and (batch is None or count + len(batch) > TOGETHER or not _are_alike(waiting[0], batch)):
            yield Ticks(joined(waiting))
            waiting, count = [], 0
        if batch is None:
            yield parcel
        else:
            waiting.append(batch)
            count += len(batch)
    if waiting:
        yield Ticks(joined(waiting))


def one_by_one(parcels: Iterable[Ticks | Told]) -> Iterator[Ticks | Told]:
    """Yield the same in order, every tick by itself: no signal waits for the ticks behind its own."""
    for parcel in parcels:
        rest: Ticks | Told | None = parcel
        while isinstance(rest, Ticks) and rest.events > 1:
            first, rest = rest.split(1)
            yield first
        if rest is not None:
            yield rest


def _are_alike(batch: TickBatch, other: TickBatch) -> bool:
    """Whether their ids are of one kind: each keeps its own."""
    one, another = batch.trade_ref, other.trade_ref
    return one is another if one is None or another is None else one.dtype == another.dtype
