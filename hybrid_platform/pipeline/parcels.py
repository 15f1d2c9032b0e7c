"""What travels through the channels, and how many events each counts as."""

from __future__ import annotations

from typing import NamedTuple

from hybrid_platform.domain.commands import Command
from hybrid_platform.domain.orders import Record
from hybrid_platform.domain.steps import Step
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.trading.live import Want
from hybrid_platform.trading.order import Report


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
