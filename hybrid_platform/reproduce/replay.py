"""Replay: strategy and execution driven by recorded ticks and by the session's journal (S8).

in: a session's ticks in order and its `SessionJournal` · out: the resulting audit records, in the order of the
decisions. The replay never reads the decisions that the session recorded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from hybrid_platform.domain.commands import Command
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import Record
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.reproduce.journal import JournalEntry, SessionJournal
from hybrid_platform.session.stage import StageStatus
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.strategies.base import Strategy
from hybrid_platform.strategies.runner import StrategyRunner
from hybrid_platform.trading.engine import ExecutionEngine


class NotReproducibleError(ValueError):
    """The rows of a session are not ones that this platform can have written; the message has the resulting error."""


class Replay:
    """A fresh strategy and a fresh engine; used once."""

    def __init__(
        self, runner: StrategyRunner, engine: ExecutionEngine, journal: SessionJournal, until: int | None = None
    ) -> None:
        """``runner`` takes its timers from the journal, ``engine`` the late decisions.

        ``until``: stop before that tick, with nothing closed.
        """
        self._runner = runner
        self._engine = engine
        self._journal = journal
        self._until = until
        self._entries = deque(journal.entries)
        self.shown = 0
        """Number of ticks that the strategy received so far."""

    @property
    def status(self) -> StageStatus:
        """Progress of the strategy, also within a batch; any thread may read it."""
        return StageStatus("strategy", True, self.shown, self._runner.ticks_remaining)

    def run(self, batches: Iterable[TickBatch]) -> Iterator[list[Record]]:
        """Yield the decisions of each step; raise StrategyError if the strategy does."""
        until = self._until
        for batch in batches:
            end = len(batch) if until is None else int(np.searchsorted(batch.seq, until))
            known = batch[:end]
            yield from self._feed_ticks(known[self._journal.was_seen(known.seq)])
            if end < len(batch):
                break
        while self._entries and (until is None or self._entries[0].record.after_seq < until):
            yield self._apply(self._entries.popleft())
        if until is None:
            yield self._engine.finish()

    def _feed_ticks(self, rest: TickBatch) -> Iterator[list[Record]]:
        while len(rest):
            first = int(rest.seq[0])
            while self._entries and self._entries[0].record.after_seq < first:
                yield self._apply(self._entries.popleft())
            cut = len(rest)
            if self._entries:
                cut = int(np.searchsorted(rest.seq, self._entries[0].record.after_seq, side="right"))
            part, rest = rest[:cut], rest[cut:]
            self.shown += len(part)
            for step in self._runner.on_batch(part):
                yield self._engine.on_step(step)

    def _apply(self, entry: JournalEntry) -> list[Record]:
        record, message = entry
        if isinstance(message, Command):
            return self._engine.on_command(message, record.after_seq, record.ts)
        if message is not None:
            return self._engine.on_report(message, record.after_seq, record.ts)
        return [made for step in self._runner.on_entry(record) for made in self._engine.on_step(step)]


def build_replay(
    settings: SessionSettings,
    strategy: Strategy[Any],
    table: InstrumentTable,
    journal: SessionJournal,
    until: int | None,
) -> tuple[Replay, ExecutionEngine]:
    """Return a fresh replay, and its engine."""
    runner = StrategyRunner(strategy, table, warm_start_ticks=settings.warm_start_ticks, is_journalled=True)
    engine = ExecutionEngine(settings, table, late=journal.late)
    return Replay(runner, engine, journal, until), engine
