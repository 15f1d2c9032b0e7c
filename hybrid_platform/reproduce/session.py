"""Reproduce one finished session: what it was asked to do, its ticks and its inputs, and nothing else (S8).

in: the database · out: `ReproductionEvidence`. A session that ended COMPLETE with every tick in the
database is decided again as a whole. Of any other, only what is certain is compared: with ticks missing,
what was decided before the first of them that the strategy saw; after a failure, what was decided before
its last instant. Then the verdict is INCOMPLETE at best.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from hybrid_platform.domain.clocks import Clock, iso_utc
from hybrid_platform.domain.errors import ConfigError, Fault, StrategyError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import (
    InputRecord,
    OrderEventRecord,
    OrderRecord,
    Record,
    SignalRecord,
    TradeRecord,
    VetoRecord,
)
from hybrid_platform.domain.records import CodeIdentity
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.evidence.records import RowFigures
from hybrid_platform.evidence.reproduction import (
    MAX_LISTED_GAPS,
    Difference,
    MissingTicks,
    ReproductionEvidence,
    ReproductionVerdict,
    TableComparison,
    WrittenRows,
)
from hybrid_platform.evidence.row_digests import InputDigest, TickDigest, find_changed_row
from hybrid_platform.reproduce.compare import Found, TableCheck
from hybrid_platform.reproduce.journal import Journal, read_journal
from hybrid_platform.reproduce.replay import UndecidableError, replay_of
from hybrid_platform.session.ledger import REFUSED
from hybrid_platform.session.stages.decision_sink import SignalsDigest
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.errors import DatabaseError
from hybrid_platform.storage.queries import count_ticks, find_missing_ticks, find_session, read_ledger
from hybrid_platform.storage.reader import read_records, read_rows, read_tick_batches
from hybrid_platform.storage.rows import LAYOUTS
from hybrid_platform.storage.session_records import SessionInfo, SessionState
from hybrid_platform.strategies.loader import build_strategy

COMPARED: tuple[type[Record], ...] = (
    SignalRecord,
    InputRecord,
    VetoRecord,
    OrderRecord,
    OrderEventRecord,
    TradeRecord,
)
DAMAGED = (ValueError, TypeError, KeyError, IndexError, OverflowError, ArithmeticError, DatabaseError)
"""What rows that this platform never wrote make of a replay."""


class _Missing(NamedTuple):
    """Ticks that are not in the database."""

    holes: tuple[MissingTicks, ...]
    until: int | None
    """The first of them that the strategy saw."""
    accepted: int | None
    evicted: int

    @property
    def count(self) -> int:  # type: ignore[override]  # tuple.count is not missed
        return sum(hole.last - hole.first + 1 for hole in self.holes)

    def reasons(self) -> Iterator[tuple[bool, str]]:
        """Yield what is wrong with it, and whether it is the session's own doing (False: somebody else's)."""
        if not self.holes:
            return
        shown = ", ".join(f"{hole.first}–{hole.last}" for hole in self.holes[:MAX_LISTED_GAPS])
        more = f" and {len(self.holes) - MAX_LISTED_GAPS} more" if len(self.holes) > MAX_LISTED_GAPS else ""
        if self.accepted is not None and self.count != self.evicted:
            was = f"{self.count} missing: seq {shown}{more}"
            yield False, f"ticks: expected {self.evicted} evicted by the ledger, got {was}"
        at = "the strategy saw none of them" if self.until is None else f"the strategy saw {self.until}"
        yield True, f"ticks: {self.count} were not persisted, {at}: seq {shown}{more}"


class Replaying(Protocol):
    """What decides a session again: here, or behind the guard."""

    shown: int

    def run(self, batches: Iterator[TickBatch]) -> Iterator[Sequence[Record]]:
        """Yield what is decided, in order."""


Begin = Callable[[SessionSettings, InstrumentTable, Sequence[InputRecord], int | None], Replaying]
"""Session's settings, instruments, inputs, and the first tick that cannot be shown -> what decides it again."""


def replay_here(
    settings: SessionSettings, table: InstrumentTable, inputs: Sequence[InputRecord], until: int | None
) -> Replaying:
    """Decide in this process: for code that is trusted as this process is."""
    return replay_of(settings, build_strategy(settings.strategy), table, read_journal(inputs), until)[0]


def reproduce(
    engine: sa.Engine,
    session_id: str,
    code: CodeIdentity,
    clock: Clock,
    written: WrittenRows | None = None,
    begin: Begin = replay_here,
) -> ReproductionEvidence:
    """Decide a session again and compare; ``engine`` only reads, ``written`` is what session.json says of its rows.

    Raises ConfigError for a session that is not there or has not ended, and for a strategy that is not there.
    """
    started = clock.wall_ns()
    session = find_session(engine, session_id)
    if session.state in {SessionState.RUNNING, SessionState.REFUSED}:
        raise ConfigError([Fault("session", "a session that ran and ended", f"{session_id} {session.state}")])
    complete = session.state is SessionState.COMPLETE
    faults: list[str] = []
    gaps: list[str] = [] if complete else [f"the session ended {session.state}: {session.exit_reason}"]
    journal = read_journal(())
    tables: tuple[TableComparison, ...] = ()
    first: Found | None = None
    signals = SignalsDigest()
    shown = 0
    missing = _Missing((), None, None, 0)
    batches: _Digested | None = None
    try:
        inputs = tuple(read_records(engine, session_id, InputRecord))
        journal = read_journal(inputs)
        missing = _missing(engine, session_id, journal)
        for is_own, reason in missing.reasons():
            (gaps if is_own else faults).append(reason)
        comparison = _Comparison(engine, session, signals, whole=complete and missing.until is None)
        table = InstrumentTable()
        batches = _Digested(read_tick_batches(engine, session.session_id, table))
        replay = begin(load_settings(json.loads(session.settings), environ={}), table, inputs, missing.until)
        try:
            comparison.take(replay.run(iter(batches)))
        except StrategyError as error:
            (faults if complete else gaps).append(str(error))
        finally:
            batches.exhaust()
        shown = replay.shown
        tables, first = comparison.finish()
    except DAMAGED as error:
        why = str(error) if isinstance(error, UndecidableError) else f"{type(error).__name__}: {error}"
        faults.append(f"the session's rows cannot be decided again: {why}")
    difference = None if first is None else first.difference
    if difference is not None:
        faults.insert(0, str(difference))
    # What a changed tick or input changed of the decisions is no more than what follows from it.
    for changed in _not_as_written(engine, session_id, written, batches):
        difference = changed
        faults.insert(0, str(changed))
    verdict = ReproductionVerdict.INCOMPLETE if gaps else ReproductionVerdict.PASS
    verdict = ReproductionVerdict.FAIL if faults else verdict
    return ReproductionEvidence(
        session_id=session_id,
        verdict=verdict,
        reasons=(*faults, *gaps),
        first=difference,
        started_at=iso_utc(started),
        ended_at=iso_utc(clock.wall_ns()),
        state=session.state.value,
        recorded_by=session.code_version,
        code=code,
        config_sha256=session.config_sha256,
        trading_sha256=session.trading_sha256,
        ticks=count_ticks(engine, session_id),
        accepted=missing.accepted,
        dropped=journal.dropped,
        shown=shown,
        inputs=journal.counts,
        holes=missing.holes[:MAX_LISTED_GAPS],
        missing=missing.count,
        evicted=missing.evicted,
        tables=tables,
        signals_sha256=signals.sha256,
    )


class _Comparison:
    """Every table's check, and the records' places in the session."""

    def __init__(self, engine: sa.Engine, session: SessionInfo, signals: SignalsDigest, *, whole: bool) -> None:
        rows = {kind: read_rows(engine, session.session_id, kind) for kind in COMPARED}
        self._before: int | None = None
        if session.state is not SessionState.COMPLETE:
            # What a failing session closed in its last instant was not caused by ticks or inputs.
            self._before = _last_instant(engine, session.session_id)
            rows = {kind: self._earlier(kind, recorded) for kind, recorded in rows.items()}
        self._checks = {kind: TableCheck(kind, recorded, whole=whole) for kind, recorded in rows.items()}
        self._position = 0
        self._signals = signals

    def take(self, decided: Iterator[Sequence[Record]]) -> None:
        """Take everything that was decided."""
        before = self._before
        for record in chain.from_iterable(decided):
            if isinstance(record, SignalRecord):
                self._signals.add(record)
            check = self._checks.get(type(record))
            if check is not None and (before is None or record.ts < before):
                self._position += 1
                check.take(self._position, record)

    def finish(self) -> tuple[tuple[TableComparison, ...], Found | None]:
        """Return every table's comparison, and the first difference in the order of decisions."""
        tables = tuple(check.finish() for check in self._checks.values())
        found = [check.first for check in self._checks.values() if check.first is not None]
        return tables, min(found, key=lambda each: each.position, default=None)

    def _earlier(self, kind: type[Record], rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        place, before = LAYOUTS[kind].columns.index("ts"), self._before
        return (row for row in rows if before is None or row[place] < before)


class _Digested:
    """A session's ticks on their way to the replay, and their digest."""

    def __init__(self, batches: Iterator[TickBatch]) -> None:
        self._batches = batches
        self.digest = TickDigest()

    def __iter__(self) -> Iterator[TickBatch]:
        for batch in self._batches:
            self.digest.add(batch)
            yield batch

    def exhaust(self) -> None:
        """Take what the replay did not need."""
        for _ in self:
            pass


def _not_as_written(
    engine: sa.Engine, session_id: str, written: WrittenRows | None, batches: _Digested | None
) -> Iterator[Difference]:
    """Yield what is not as session.json says it was written: an input, a tick."""
    if written is None:
        return
    inputs = InputDigest()
    inputs.add(read_rows(engine, session_id, InputRecord))
    yield from _changed("inputs", "n", written.inputs, inputs.figures())
    if batches is not None:
        yield from _changed("ticks", "seq", written.ticks, batches.digest.figures())


def _changed(table: str, key: str, written: RowFigures, found: RowFigures) -> Iterator[Difference]:
    if written == found:
        return
    number = find_changed_row(written, found)
    if number is not None:
        yield Difference(table, number, f"{key}={number}", "row", "as it was written (session.json)", "changed")
        return
    counts = f"{written.count} written, {found.count} there"
    yield Difference(table, 0, counts, "rows", written.sha256, found.sha256)


def _missing(engine: sa.Engine, session_id: str, journal: Journal) -> _Missing:
    ledger = {row[:3]: row[3] for row in read_ledger(engine, session_id)}
    accepted = next(
        (count for (kind, _, reason), count in ledger.items() if (kind, reason) == ("feed", "accepted")), None
    )
    found = find_missing_ticks(engine, session_id, max(accepted or 0, journal.last_seq))
    needed = [journal.first_seen(first, last) for first, last in found]
    holes = tuple(MissingTicks(*hole, seq is not None) for hole, seq in zip(found, needed, strict=True))
    until = next((seq for seq in needed if seq is not None), None)
    evicted = ledger.get(("channel", "persist", "dropped"), 0) - ledger.get(("channel", "persist", REFUSED), 0)
    return _Missing(holes, until, accepted, evicted)


def _last_instant(engine: sa.Engine, session_id: str) -> int:
    last = 0
    for kind in COMPARED:
        place = LAYOUTS[kind].columns.index("ts")
        last = max(last, max((row[place] for row in read_rows(engine, session_id, kind)), default=0))
    return last
