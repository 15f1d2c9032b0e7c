"""Reader of a finished session: instruments, ticks, prices, audit records and the origins of orders.

in: a reading engine and a session's id · out: domain objects in their original order, in bounded memory. Replays
from the database, reproduction (S8), measures and audits use it. Archived ticks are included.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import chain, islice
from typing import Any, Literal, NamedTuple, TypeVar, cast

import msgspec
import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from hybrid_platform.domain.decimals import from_units
from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.domain.orders import AuditRecord, Record
from hybrid_platform.domain.ticks import Int64s, TickBatch
from hybrid_platform.storage import schema
from hybrid_platform.storage.archive import count_archived_ticks, list_archived_files, read_archived_rows
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.errors import Cause, DatabaseError
from hybrid_platform.storage.queries import ROWS_AT_ONCE, find_session, read_pages
from hybrid_platform.storage.rows import RECORD_LAYOUTS
from hybrid_platform.storage.session_records import SessionInfo, SessionState
from hybrid_platform.storage.tick_rows import TickRows, read_tick_rows
from hybrid_platform.storage.views import VIEWS

TICKS_AT_ONCE = 16_384
MARKS_AT_ONCE = 16_384
RECORDS_AT_ONCE = 4_096
MAX_BOUNDARY_TICKS = 20_000
ORDERS_AT_ONCE = 4_096
_ORIGINS_QUERY = """
    SELECT o.n, o.order_id, s.ts, t.price, i.price_scale FROM order_rows o
      LEFT JOIN signal_rows s ON s.session_no = o.session_no AND s.signal_id = o.signal_id
      LEFT JOIN tick_rows t ON t.session_no = o.session_no AND t.seq = o.seq AND o.type = 'LIMIT'
      LEFT JOIN instruments i ON i.instrument_no = t.instrument_no AND i.symbol = o.symbol AND i.venue = o.venue
    WHERE o.session_no = :no AND o.n > :last ORDER BY o.n LIMIT :rows"""

R = TypeVar("R", bound=AuditRecord)


class BoundaryTick(NamedTuple):
    """First or last tick of an instrument in a session. Times in nanoseconds."""

    ref: int | str | None
    """The venue's trade id, if there is one."""
    ts_event: int
    ts_recv: int


class OrderOrigin(NamedTuple):
    """Signal time and arrival price of an order, which its row does not contain."""

    signal_ts: int | None
    """None if the signal is missing."""
    limit_arrival: Decimal | None
    """Price of the tick that caused a limit order, if the tick is of the order's instrument."""


def read_instruments(engine: sa.Engine, session_id: str) -> list[Instrument]:
    """Return a session's instruments with the rules it used, in index order."""
    return list(_load_instruments(engine, find_session(engine, session_id)).values())


def read_tick_batches(
    engine: sa.Engine, session_id: str, table: InstrumentTable, *, ticks_at_once: int = TICKS_AT_ONCE
) -> Iterator[TickBatch]:
    """Yield a finished session's ticks by ``seq``, with their original numbers; a gap is a tick that was not stored.

    Adds the session's instruments to ``table``; instruments stated there take precedence. Raises ConfigError for a
    session that is unknown or still RUNNING, and for stated scales that differ from those of the ticks.
    """
    session = find_session(engine, session_id)
    if session.state is SessionState.RUNNING:
        raise ConfigError([Fault("session", "a session that has ended", f"{session_id} RUNNING")])
    index_of = {number: _add_instrument(table, item) for number, item in _load_instruments(engine, session).items()}
    indices = np.zeros(max(index_of, default=0) + 1, dtype=np.int64)
    indices[list(index_of)] = list(index_of.values())
    last = -1
    for rows in read_tick_rows(engine, session.session_no, rows_at_once=ticks_at_once):
        yield _build_batch(table, rows, indices)
        last = int(rows.seq[-1])
    # Ticks that retention moved earlier, or moves in the meantime, follow from the archive.
    for rows in read_archived_rows(engine, session.session_no, after=last, rows_at_once=ticks_at_once):
        yield _build_batch(table, rows, indices)


def read_prices(engine: sa.Engine, session_id: str, *, every: int = 1) -> Iterator[Int64s]:
    """Yield a session's prices in order, in blocks of shape (n, 4): seq, instrument, price and receive time.

    The instrument is its index in `read_instruments`, the price an integer in its scale. ``every`` selects each
    n-th tick and the last one. Takes a third of the time of `read_tick_batches`.
    """
    session = find_session(engine, session_id)
    numbers = list(_load_instruments(engine, session))
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
            # The driver's tuples: four integers need no conversion, and SQLAlchemy's rows take twice the time.
            rows = connection.execute(query.where(ticks.seq > last).limit(MARKS_AT_ONCE)).cursor.fetchall()
        if not rows:
            break
        block = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=4 * len(rows)).reshape(-1, 4)
        block[:, 1] = places[block[:, 1]]
        yield block
        last = int(block[-1, 0])
    highest_archived = max((file.last_seq for _, file in list_archived_files(engine, session.session_no)), default=0)
    for archived in read_archived_rows(engine, session.session_no, after=last, rows_at_once=MARKS_AT_ONCE):
        wanted = archived.where((archived.seq % every == 0) | (archived.seq == highest_archived))
        if len(wanted.seq):
            yield np.column_stack([wanted.seq, places[wanted.instrument_no], wanted.price, wanted.ts_recv])


def read_records(engine: sa.Engine, session_id: str, kind: type[R]) -> Iterator[R]:
    """Yield a session's records of one type in order; orders have their last status."""
    layout = RECORD_LAYOUTS[cast(type[Record], kind)]
    view = VIEWS[layout.name]
    places = [(field.name, view.c.keys().index(field.name)) for field in msgspec.structs.fields(kind)]
    for page in read_pages(engine, view, session_id, RECORDS_AT_ONCE):
        for row in page:
            try:
                record = msgspec.convert({name: row[place] for name, place in places}, kind, strict=False)
            except msgspec.ValidationError as error:
                raise DatabaseError(Cause.CORRUPT, f"{layout.name} of {session_id}, n {row.n}: {error}") from error
            yield record


def read_rows(engine: sa.Engine, session_id: str, kind: type[Record]) -> Iterator[tuple[Any, ...]]:
    """Yield a session's rows of one type in order, unconverted: the form of `rows.record_rows`."""
    layout, session_no = RECORD_LAYOUTS[kind], find_session(engine, session_id).session_no
    table = schema.COUNTED_TABLES[layout.name]
    # Untyped columns are not converted, so that a damaged value is returned unchanged.
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


def read_boundary_ticks(
    engine: sa.Engine, session_no: int, end: Literal["first", "last"]
) -> dict[tuple[str, str], BoundaryTick]:
    """Return the first or last tick of each ``(venue, symbol)`` of a session, archived ticks included.

    Reads at most `MAX_BOUNDARY_TICKS` ticks from that end, so it takes milliseconds for a session of any length; an
    instrument without a tick among them is left out.
    """
    ticks, instruments = schema.TICKS.c, schema.INSTRUMENTS.c
    order = ticks.seq.asc() if end == "first" else ticks.seq.desc()
    boundary_query = (
        sa.select(ticks.instrument_no, ticks.trade_ref, ticks.ts_event, ticks.ts_recv)
        .where(ticks.session_no == session_no)
        .order_by(order)
        .limit(MAX_BOUNDARY_TICKS)
    )
    with transaction(engine, f"reading the {end} ticks of a session") as connection:
        names = {number: (venue, symbol) for number, venue, symbol in connection.execute(
            sa.select(instruments.instrument_no, instruments.venue, instruments.symbol)
        )}  # fmt: skip
        rows: list[Any] = list(connection.execute(boundary_query))
    found: dict[tuple[str, str], BoundaryTick] = {}
    for number, ref, ts_event, ts_recv in rows or islice(
        _read_archived_boundary(engine, session_no, end), MAX_BOUNDARY_TICKS
    ):
        found.setdefault(names[number], BoundaryTick(ref, ts_event, ts_recv))
    return found


def read_order_origins(
    engine: sa.Engine, session_id: str, *, orders_at_once: int = ORDERS_AT_ONCE
) -> Iterator[OrderOrigin]:
    """Yield the origin of each of a session's orders, by ``n``, in pages.

    Holds all limit orders in memory only for a session with archived ticks.
    """
    number = find_session(engine, session_id).session_no
    with transaction(engine, "looking for archived ticks") as connection:
        is_archived = bool(count_archived_ticks(connection, number))
    archived = _read_archived_arrivals(engine, number) if is_archived else {}
    last = -1
    while True:
        with transaction(engine, "reading the origins of orders") as connection:
            values = {"no": number, "last": last, "rows": orders_at_once}
            page = connection.execute(sa.text(_ORIGINS_QUERY), values).cursor.fetchall()
        for _, order_id, signal_ts, price, scale in page:
            arrival = None if scale is None else from_units(price, scale)
            yield OrderOrigin(signal_ts, archived.get(order_id, arrival))
        if len(page) < orders_at_once:
            return
        last = page[-1][0]


def _load_instruments(engine: sa.Engine, session: SessionInfo) -> dict[int, Instrument]:
    """Return the instruments by number, in the order of the session's table."""
    rules = schema.SESSION_INSTRUMENTS.c
    query = sa.select(rules.instrument_no, rules.rules).where(rules.session_no == session.session_no).order_by(rules.n)
    with transaction(engine, "reading instruments") as connection:
        return {number: msgspec.json.decode(text, type=Instrument) for number, text in connection.execute(query)}


def _add_instrument(table: InstrumentTable, stored: Instrument) -> int:
    index = table.intern(*stored.key, inferred=stored)
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


def _build_batch(table: InstrumentTable, rows: TickRows, indices: npt.NDArray[np.int64]) -> TickBatch:
    return TickBatch(
        table,
        rows.seq,
        indices[rows.instrument_no],
        rows.price,
        rows.size,
        rows.side.astype(np.int8),
        _build_trade_refs(rows.refs),
        rows.ts_event,
        rows.ts_recv,
    )


def _build_trade_refs(refs: list[int | str | None]) -> npt.NDArray[Any] | None:
    kinds = set(map(type, refs))
    if kinds == {type(None)}:
        return None
    if kinds == {int}:
        return np.array(refs, dtype=np.int64)
    return np.array([None if ref is None else str(ref) for ref in refs], dtype=object)


def _read_archived_boundary(
    engine: sa.Engine, session_no: int, end: Literal["first", "last"]
) -> Iterator[tuple[Any, ...]]:
    """Yield the same columns of archived ticks, starting from that end."""
    highest = max((file.last_seq for _, file in list_archived_files(engine, session_no)), default=0)
    after = -1 if end == "first" else highest - MAX_BOUNDARY_TICKS
    read_pages = read_archived_rows(engine, session_no, after=after, rows_at_once=MAX_BOUNDARY_TICKS)
    for rows in read_pages if end == "first" else reversed(list(read_pages)):
        columns = (rows.instrument_no.tolist(), rows.refs, rows.ts_event.tolist(), rows.ts_recv.tolist())
        found = list(zip(*columns, strict=True))
        yield from found if end == "first" else reversed(found)


def _read_archived_arrivals(engine: sa.Engine, session_no: int) -> dict[str, Decimal]:
    query = """
        SELECT o.seq, i.instrument_no, o.order_id, i.price_scale FROM order_rows o
          JOIN instruments i ON i.symbol = o.symbol AND i.venue = o.venue
        WHERE o.session_no = :no AND o.type = 'LIMIT'"""
    with transaction(engine, "finding arrival prices") as connection:
        # One tick may have caused several orders.
        orders: dict[tuple[int, int], list[tuple[str, int]]] = {}
        for seq, instrument, order_id, scale in connection.execute(sa.text(query), {"no": session_no}):
            orders.setdefault((seq, instrument), []).append((order_id, scale))
    wanted = np.array(sorted({seq for seq, _ in orders}), dtype=np.int64)
    found: dict[str, Decimal] = {}
    for rows in read_archived_rows(engine, session_no, rows_at_once=ROWS_AT_ONCE) if orders else ():
        own = rows.where(np.isin(rows.seq, wanted))
        for key in zip(own.seq.tolist(), own.instrument_no.tolist(), own.price.tolist(), strict=True):
            for order_id, scale in orders.get(key[:2], ()):
                found[order_id] = from_units(key[2], scale)
    return found
