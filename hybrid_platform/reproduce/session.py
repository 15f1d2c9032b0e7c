"""Reproduction of one finished session from its settings, ticks and inputs alone, and the verdict on it (S8).

in: the database · out: `ReproductionEvidence`. A session that ended COMPLETE with every tick in the database is
recomputed as a whole. For any other session only certain decisions are compared, and the verdict is INCOMPLETE at
best: with missing ticks, decisions before the first missing tick that the strategy received; after a failure,
decisions before its last instant.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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
from hybrid_platform.reproduce.compare import LocatedDifference, TableComparer
from hybrid_platform.reproduce.journal import SessionJournal, parse_journal
from hybrid_platform.reproduce.replay import NotReproducibleError, build_replay
from hybrid_platform.session.ledger import REFUSED
from hybrid_platform.session.stages.decision_sink import SignalsDigest
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.errors import DatabaseError
from hybrid_platform.storage.queries import count_ticks, find_missing_ticks, find_session, read_ledger
from hybrid_platform.storage.reader import read_records, read_rows, read_tick_batches
from hybrid_platform.storage.rows import RECORD_LAYOUTS
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
DAMAGED_ROW_ERRORS = (ValueError, TypeError, KeyError, IndexError, OverflowError, ArithmeticError, DatabaseError)
"""Errors that a replay raises for rows that this platform cannot have written."""


class _MissingRanges(NamedTuple):
    """Ranges of ticks that are not in the database."""

    holes: tuple[MissingTicks, ...]
    until: int | None
    """The first missing tick that the strategy received."""
    accepted: int | None
    evicted: int

    @property
    def count(self) -> int:  # type: ignore[override]  # hides tuple.count, which is not needed
        return sum(hole.last - hole.first + 1 for hole in self.holes)

    def reasons(self) -> Iterator[tuple[bool, str]]:
        """Yield each problem, and whether the session itself caused it (False: the rows were removed later)."""
        if not self.holes:
            return
        shown = ", ".join(f"{hole.first}–{hole.last}" for hole in self.holes[:MAX_LISTED_GAPS])
        more = f" and {len(self.holes) - MAX_LISTED_GAPS} more" if len(self.holes) > MAX_LISTED_GAPS else ""
        if self.accepted is not None and self.count != self.evicted:
            was = f"{self.count} missing: seq {shown}{more}"
            yield False, f"ticks: expected {self.evicted} evicted by the ledger, got {was}"
        at = "the strategy saw none of them" if self.until is None else f"the strategy saw {self.until}"
        yield True, f"ticks: {self.count} were not persisted, {at}: seq {shown}{more}"


class Replayer(Protocol):
    """Recomputes a session, in this process or in a sandboxed one."""

    shown: int

    def run(self, batches: Iterator[TickBatch]) -> Iterator[Sequence[Record]]:
        """Yield the decisions in order."""


class StartReplay(Protocol):
    """Starts the replay of a session."""

    def __call__(
        self, settings: SessionSettings, table: InstrumentTable, inputs: Sequence[InputRecord], until: int | None, /
    ) -> Replayer:
        """Return a replayer for a session's settings, instruments and inputs; it stops before tick ``until``."""


def start_local_replay(
    settings: SessionSettings, table: InstrumentTable, inputs: Sequence[InputRecord], until: int | None
) -> Replayer:
    """Replay in this process; only for strategy code that is trusted like this process."""
    return build_replay(settings, build_strategy(settings.strategy), table, parse_journal(inputs), until)[0]


def reproduce(
    engine: sa.Engine,
    session_id: str,
    code: CodeIdentity,
    clock: Clock,
    written: WrittenRows | None = None,
    start_replay: StartReplay = start_local_replay,
) -> ReproductionEvidence:
    """Recompute a session and compare the rows.

    ``engine`` needs read access only; ``written`` are the row digests in ``session.json``. Raises ConfigError for a
    session that does not exist or has not ended, and for a strategy that does not exist.
    """
    started = clock.wall_ns()
    session = find_session(engine, session_id)
    if session.state in {SessionState.RUNNING, SessionState.REFUSED}:
        raise ConfigError([Fault("session", "a session that ran and ended", f"{session_id} {session.state}")])
    complete = session.state is SessionState.COMPLETE
    faults: list[str] = []
    gaps: list[str] = [] if complete else [f"the session ended {session.state}: {session.exit_reason}"]
    journal = parse_journal(())
    tables: tuple[TableComparison, ...] = ()
    first: LocatedDifference | None = None
    signals = SignalsDigest()
    shown = 0
    missing = _MissingRanges((), None, None, 0)
    batches: _DigestingBatches | None = None
    try:
        inputs = tuple(read_records(engine, session_id, InputRecord))
        journal = parse_journal(inputs)
        missing = _find_missing(engine, session_id, journal)
        for is_own, reason in missing.reasons():
            (gaps if is_own else faults).append(reason)
        comparison = _Comparison(engine, session, signals, whole=complete and missing.until is None)
        table = InstrumentTable()
        batches = _DigestingBatches(read_tick_batches(engine, session.session_id, table))
        replay = start_replay(load_settings(json.loads(session.settings), environ={}), table, inputs, missing.until)
        try:
            comparison.compare(replay.run(iter(batches)))
        except StrategyError as error:
            (faults if complete else gaps).append(str(error))
        finally:
            batches.exhaust()
        shown = replay.shown
        tables, first = comparison.finish()
    except DAMAGED_ROW_ERRORS as error:
        why = str(error) if isinstance(error, NotReproducibleError) else f"{type(error).__name__}: {error}"
        faults.append(f"the session's rows cannot be recomputed: {why}")
    difference = None if first is None else first.difference
    if difference is not None:
        faults.insert(0, str(difference))
    # A changed tick or input comes first, because differing decisions follow from it.
    for changed in _find_changed_rows(engine, session_id, written, batches):
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
    """The comparison of every table, and the position of each record in the session."""

    def __init__(self, engine: sa.Engine, session: SessionInfo, signals: SignalsDigest, *, whole: bool) -> None:
        rows = {kind: read_rows(engine, session.session_id, kind) for kind in COMPARED}
        self._before: int | None = None
        if session.state is not SessionState.COMPLETE:
            # A failing session closes orders in its last instant, which does not follow from ticks or inputs.
            self._before = _find_last_instant(engine, session.session_id)
            rows = {kind: self._earlier(kind, recorded) for kind, recorded in rows.items()}
        self._checks = {kind: TableComparer(kind, recorded, whole=whole) for kind, recorded in rows.items()}
        self._position = 0
        self._signals = signals

    def compare(self, decided: Iterator[Sequence[Record]]) -> None:
        """Compare all decisions."""
        before = self._before
        for record in chain.from_iterable(decided):
            if isinstance(record, SignalRecord):
                self._signals.add(record)
            check = self._checks.get(type(record))
            if check is not None and (before is None or record.ts < before):
                self._position += 1
                check.add(self._position, record)

    def finish(self) -> tuple[tuple[TableComparison, ...], LocatedDifference | None]:
        """Return the comparison of every table, and the first difference in the order of decisions."""
        tables = tuple(check.finish() for check in self._checks.values())
        found = [check.first for check in self._checks.values() if check.first is not None]
        return tables, min(found, key=lambda each: each.position, default=None)

    def _earlier(self, kind: type[Record], rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        place, before = RECORD_LAYOUTS[kind].columns.index("ts"), self._before
        return (row for row in rows if before is None or row[place] < before)


class _DigestingBatches:
    """A session's ticks on their way to the replay; they are digested in passing."""

    def __init__(self, batches: Iterator[TickBatch]) -> None:
        self._batches = batches
        self.digest = TickDigest()

    def __iter__(self) -> Iterator[TickBatch]:
        for batch in self._batches:
            self.digest.add(batch)
            yield batch

    def exhaust(self) -> None:
        """Digest the ticks that the replay did not need."""
        for _ in self:
            pass


def _find_changed_rows(
    engine: sa.Engine, session_id: str, written: WrittenRows | None, batches: _DigestingBatches | None
) -> Iterator[Difference]:
    """Yield a changed input and a changed tick, compared with the digests in ``session.json``."""
    if written is None:
        return
    inputs = InputDigest()
    inputs.add(read_rows(engine, session_id, InputRecord))
    yield from _compare_figures("inputs", "n", written.inputs, inputs.figures())
    if batches is not None:
        yield from _compare_figures("ticks", "seq", written.ticks, batches.digest.figures())


def _compare_figures(table: str, key: str, written: RowFigures, found: RowFigures) -> Iterator[Difference]:
    if written == found:
        return
    number = find_changed_row(written, found)
    if number is not None:
        yield Difference(table, number, f"{key}={number}", "row", "as it was written (session.json)", "changed")
        return
    counts = f"{written.count} written, {found.count} there"
    yield Difference(table, 0, counts, "rows", written.sha256, found.sha256)


def _find_missing(engine: sa.Engine, session_id: str, journal: SessionJournal) -> _MissingRanges:
    ledger = {row[:3]: row[3] for row in read_ledger(engine, session_id)}
    accepted = next(
        (count for (kind, _, reason), count in ledger.items() if (kind, reason) == ("feed", "accepted")), None
    )
    found = find_missing_ticks(engine, session_id, max(accepted or 0, journal.last_seq))
    needed = [journal.first_seen(first, last) for first, last in found]
    holes = tuple(MissingTicks(*hole, seq is not None) for hole, seq in zip(found, needed, strict=True))
    until = next((seq for seq in needed if seq is not None), None)
    evicted = ledger.get(("channel", "persist", "dropped"), 0) - ledger.get(("channel", "persist", REFUSED), 0)
    return _MissingRanges(holes, until, accepted, evicted)


def _find_last_instant(engine: sa.Engine, session_id: str) -> int:
    last = 0
    for kind in COMPARED:
        place = RECORD_LAYOUTS[kind].columns.index("ts")
        last = max(last, max((row[place] for row in read_rows(engine, session_id, kind)), default=0))
    return last
