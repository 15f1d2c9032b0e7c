"""Drive strategy and execution over recorded ticks, with everything else as the journal says it was (S8).

in: a session's ticks by number and its `Journal` · out: the audit records that follow, in the order in
which they are made. Nothing here looks at what the session recorded of its decisions.
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
from hybrid_platform.reproduce.journal import Entry, Journal
from hybrid_platform.session.stage import StageStatus
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.strategies.base import Strategy
from hybrid_platform.strategies.runner import StrategyRunner
from hybrid_platform.trading.engine import ExecutionEngine


class UndecidableError(ValueError):
    """The guarded process met rows that this platform never wrote; the message says which error came of it."""


class Replay:
    """One strategy and one engine, fresh; used once."""

    def __init__(
        self, runner: StrategyRunner, engine: ExecutionEngine, journal: Journal, until: int | None = None
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
        """Ticks that the strategy was shown."""

    @property
    def status(self) -> StageStatus:
        """How far it is, also in the middle of a batch; any thread may ask."""
        return StageStatus("strategy", True, self.shown, self._runner.ahead)

    def run(self, batches: Iterable[TickBatch]) -> Iterator[list[Record]]:
        """Yield what is decided at each step; raise StrategyError where the strategy does."""
        until = self._until
        for batch in batches:
            end = len(batch) if until is None else int(np.searchsorted(batch.seq, until))
            known = batch[:end]
            yield from self._show(known[self._journal.was_seen(known.seq)])
            if end < len(batch):
                break
        while self._entries and (until is None or self._entries[0].record.after_seq < until):
            yield self._meet(self._entries.popleft())
        if until is None:
            yield self._engine.finish()

    def _show(self, rest: TickBatch) -> Iterator[list[Record]]:
        while len(rest):
            first = int(rest.seq[0])
            while self._entries and self._entries[0].record.after_seq < first:
                yield self._meet(self._entries.popleft())
            cut = len(rest)
            if self._entries:
                cut = int(np.searchsorted(rest.seq, self._entries[0].record.after_seq, side="right"))
            part, rest = rest[:cut], rest[cut:]
            self.shown += len(part)
            for step in self._runner.on_batch(part):
                yield self._engine.on_step(step)

    def _meet(self, entry: Entry) -> list[Record]:
        record, word = entry
        if isinstance(word, Command):
            return self._engine.on_command(word, record.after_seq, record.ts)
        if word is not None:
            return self._engine.on_report(word, record.after_seq, record.ts)
        return [made for step in self._runner.on_entry(record) for made in self._engine.on_step(step)]


def replay_of(
    settings: SessionSettings, strategy: Strategy[Any], table: InstrumentTable, journal: Journal, until: int | None
) -> tuple[Replay, ExecutionEngine]:
    """Return what decides again, fresh, and the engine in it."""
    runner = StrategyRunner(strategy, table, warm_start_ticks=settings.warm_start_ticks, is_journalled=True)
    engine = ExecutionEngine(settings, table, late=journal.late)
    return Replay(runner, engine, journal, until), engine
