"""A finished session read back as what it was made of: instruments, ticks in batches, audit records.

in: a reading engine and a session's id · out: domain objects in the order in which they were numbered, in
bounded memory. For a replay from the database, and for reproducing a session (S8).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.domain.orders import AuditRecord, Record
from hybrid_platform.domain.ticks import Int64s, TickBatch
from hybrid_platform.storage import schema
from hybrid_platform.storage.archive import archived_files, archived_rows
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.errors import Cause, DatabaseError
from hybrid_platform.storage.queries import find_session, pages
from hybrid_platform.storage.records import SessionInfo, SessionState
from hybrid_platform.storage.rows import LAYOUTS
from hybrid_platform.storage.tick_rows import TickRows, stored_tick_rows
from hybrid_platform.storage.views import VIEWS

TICKS_AT_ONCE = 16_384
MARKS_AT_ONCE = 16_384
RECORDS_AT_ONCE = 4_096

R = TypeVar("R", bound=AuditRecord)


def stored_instruments(engine: sa.Engine, session_id: str) -> list[Instrument]:
    """Return a session's instruments, with the rules it used, in the order of their indices."""
    return list(_instruments(engine, find_session(engine, session_id)).values())


def stored_batches(
    engine: sa.Engine, session_id: str, table: InstrumentTable, *, ticks_at_once: int = TICKS_AT_ONCE
) -> Iterator[TickBatch]:
    """Yield a finished session's ticks by ``seq``, as numbered then (a hole is a tick that was not persisted).

    Its instruments are added to ``table``; what is stated there comes first. Raises ConfigError for a
    session that is unknown or still RUNNING, and where stated scales differ from those of the ticks.
    """
    session = find_session(engine, session_id)
    if session.state is SessionState.RUNNING:
        raise ConfigError([Fault("session", "a session that has ended", f"{session_id} RUNNING")])
    index_of = {number: _index(table, item) for number, item in _instruments(engine, session).items()}
    indices = np.zeros(max(index_of, default=0) + 1, dtype=np.int64)
    indices[list(index_of)] = list(index_of.values())
    last = -1
    for rows in stored_tick_rows(engine, session.session_no, rows_at_once=ticks_at_once):
        yield _batch(table, rows, indices)
        last = int(rows.seq[-1])
    # What retention has moved, before or meanwhile, lies there.
    for rows in archived_rows(engine, session.session_no, after=last, rows_at_once=ticks_at_once):
        yield _batch(table, rows, indices)


def stored_marks(engine: sa.Engine, session_id: str, *, every: int = 1) -> Iterator[Int64s]:
    """Yield a session's prices in order: rows of seq, instrument, price and receive time, in blocks of shape (n, 4).

    The instrument is its place in `stored_instruments`, the price an integer of its scale. ``every``: only so
    many-th ticks, and the last. A third of the time of `stored_batches`, for those who need no more.
    """
    session = find_session(engine, session_id)
    numbers = list(_instruments(engine, session))
    places = np.zeros(max(numbers, default=0) + 1, dtype=np.int64)
    places[numbers] = np.arange(len(numbers))
    ticks = schema.TICKS.c
    own = ticks.session_no == session.session_no
    query = sa.select(ticks.seq, ticks.instrument_no, ticks.price, ticks.ts_recv).where(own).order_by(ticks.seq)
    if every > 1:
        highest = sa.select(sa.func.max(ticks.seq)).where(own).scalar_subquery()
        query = query.where((ticks.seq % every == 0) | (ticks.seq == highest))
    last = -1
    while True:
        with transaction(engine, "reading prices") as connection:
            # The driver's own tuples: four integers need no conversion, and rows of SQLAlchemy cost twice the time.
            rows = connection.execute(query.where(ticks.seq > last).limit(MARKS_AT_ONCE)).cursor.fetchall()
        if not rows:
            break
        block = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=4 * len(rows)).reshape(-1, 4)
        block[:, 1] = places[block[:, 1]]
        yield block
        last = int(block[-1, 0])
    highest_archived = max((file.last_seq for _, file in archived_files(engine, session.session_no)), default=0)
    for archived in archived_rows(engine, session.session_no, after=last, rows_at_once=MARKS_AT_ONCE):
        wanted = archived.where((archived.seq % every == 0) | (archived.seq == highest_archived))
        if len(wanted.seq):
            yield np.column_stack([wanted.seq, places[wanted.instrument_no], wanted.price, wanted.ts_recv])


def stored_records(engine: sa.Engine, session_id: str, kind: type[R]) -> Iterator[R]:
    """Yield a session's records of one type in order; an order with its last status."""
    layout = LAYOUTS[cast(type[Record], kind)]
    view = VIEWS[layout.name]
    places = [(field.name, view.c.keys().index(field.name)) for field in msgspec.structs.fields(kind)]
    for page in pages(engine, view, session_id, RECORDS_AT_ONCE):
        for row in page:
            try:
                record = msgspec.convert({name: row[place] for name, place in places}, kind, strict=False)
            except msgspec.ValidationError as error:
                raise DatabaseError(Cause.CORRUPT, f"{layout.name} of {session_id}, n {row.n}: {error}") from error
            yield record


def stored_rows(engine: sa.Engine, session_id: str, kind: type[Record]) -> Iterator[tuple[Any, ...]]:
    """Yield a session's rows of one type in order, as they stand in the table: the form of `rows.record_rows`."""
    layout, session_no = LAYOUTS[kind], find_session(engine, session_id).session_no
    table = schema.COUNTED[layout.name]
    # Without the columns' types nothing is converted: a value that could not be is to be seen as it is.
    columns: list[sa.ColumnElement[Any]] = [sa.column(name) for name in layout.columns]
    query = sa.select(*columns).select_from(table)
    query = query.where(table.c.session_no == session_no).order_by(table.c.n).limit(RECORDS_AT_ONCE)
    last = -1
    while True:
        with transaction(engine, f"reading {layout.name}") as connection:
            page = connection.execute(query.where(table.c.n > last)).cursor.fetchall()
        if not page:
            return
        yield from page
        last = page[-1][0]


def _instruments(engine: sa.Engine, session: SessionInfo) -> dict[int, Instrument]:
    """Return number -> instrument, in the order of the session's own table."""
    rules = schema.SESSION_INSTRUMENTS.c
    query = sa.select(rules.instrument_no, rules.rules).where(rules.session_no == session.session_no).order_by(rules.n)
    with transaction(engine, "reading instruments") as connection:
        return {number: msgspec.json.decode(text, type=Instrument) for number, text in connection.execute(query)}


def _index(table: InstrumentTable, stored: Instrument) -> int:
    index = table.index_of(*stored.key, inferred=stored)
    have = table[index]
    if (have.price_scale, have.size_scale) != (stored.price_scale, stored.size_scale):
        raise ConfigError(
            [
                Fault(
                    f"instrument {stored.symbol} at {stored.venue}",
                    f"the scales of the stored ticks, {stored.price_scale} and {stored.size_scale}",
                    f"{have.price_scale} and {have.size_scale}",
                )
            ]
        )
    return index


def _batch(table: InstrumentTable, rows: TickRows, indices: npt.NDArray[np.int64]) -> TickBatch:
    return TickBatch(
        table,
        rows.seq,
        indices[rows.instrument_no],
        rows.price,
        rows.size,
        rows.side.astype(np.int8),
        _refs(rows.refs),
        rows.ts_event,
        rows.ts_recv,
    )


def _refs(refs: list[int | str | None]) -> npt.NDArray[Any] | None:
    kinds = set(map(type, refs))
    if kinds == {type(None)}:
        return None
    if kinds == {int}:
        return np.array(refs, dtype=np.int64)
    return np.array([None if ref is None else str(ref) for ref in refs], dtype=object)
