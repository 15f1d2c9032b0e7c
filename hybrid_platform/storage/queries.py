"""Short queries without pandas: sessions, counts, the ledger, the sparse index.

in: a reading engine · out: records and numbers. Each query is one short snapshot, because the write-ahead log
cannot be truncated while a reader is open.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.storage import schema
from hybrid_platform.storage.archive import count_archived_ticks, read_archived_rows, read_archived_view
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.errors import Cause, DatabaseError
from hybrid_platform.storage.session_records import SessionInfo, SessionState
from hybrid_platform.storage.views import order_column

TickClock = Literal["ts_event", "ts_recv"]
ROWS_AT_ONCE = 65_536


def find_sessions(engine: sa.Engine, *, state: SessionState | None = None, limit: int = 1_000) -> list[SessionInfo]:
    """Return sessions, latest first."""
    query = sa.select(schema.SESSIONS).order_by(schema.SESSIONS.c.session_no.desc()).limit(limit)
    if state is not None:
        query = query.where(schema.SESSIONS.c.state == state.value)
    with transaction(engine, "finding sessions") as connection:
        return load_sessions(connection, query)


def find_session(engine: sa.Engine, session_id: str) -> SessionInfo:
    """Return one session; raise ConfigError for an unknown id."""
    query = sa.select(schema.SESSIONS).where(schema.SESSIONS.c.session_id == session_id)
    with transaction(engine, "finding a session") as connection:
        found = load_sessions(connection, query)
    if not found:
        raise ConfigError([Fault("session", "the id of a session in the database", repr(session_id[:80]))])
    return found[0]


def load_sessions(connection: sa.Connection, query: sa.Select[Any]) -> list[SessionInfo]:
    """Return the sessions found by a select of all columns; raise DatabaseError CORRUPT for an unknown state."""
    try:
        return [
            SessionInfo(**{**row, "state": SessionState(row["state"])}) for row in connection.execute(query).mappings()
        ]
    except ValueError as error:
        raise DatabaseError(Cause.CORRUPT, f"reading sessions: {error}") from error


def count_rows(engine: sa.Engine, session_id: str) -> dict[str, int]:
    """Count a session's rows by table in the tables themselves; the postflight compares them with ``written``.

    Archived ticks are included. Takes about 10 ms per million ticks of this session.
    """
    session_no = find_session(engine, session_id).session_no
    with transaction(engine, "counting rows") as connection:
        return count_session_rows(connection, session_no)


def count_session_rows(connection: sa.Connection, session_no: int) -> dict[str, int]:
    """Count a session's rows by table in the connection's transaction, archived ticks as registered."""
    counts = {
        name: connection.scalar(sa.select(sa.func.count()).select_from(table).where(table.c.session_no == session_no))
        or 0
        for name, table in schema.COUNTED_TABLES.items()
    }
    return counts | {"ticks": counts["ticks"] + count_archived_ticks(connection, session_no)}


def count_ticks(engine: sa.Engine, session_id: str | None = None) -> int:
    """Return how many ticks were written in one session or all, from the sparse index: fast at any size."""
    batches = schema.TICK_BATCHES
    query = sa.select(sa.func.coalesce(sa.func.sum(batches.c["count"]), 0))
    if session_id is not None:
        query = query.join(schema.SESSIONS, schema.SESSIONS.c.session_no == batches.c.session_no).where(
            schema.SESSIONS.c.session_id == session_id
        )
    with transaction(engine, "counting ticks") as connection:
        return int(connection.scalar(query) or 0)


def read_receive_time_span(engine: sa.Engine, session_id: str) -> tuple[int, int, int] | None:
    """Return a session's first and last receive time in nanoseconds and its number of ticks, or None without ticks."""
    batches = schema.TICK_BATCHES.c
    own = sa.select(sa.func.min(batches.min_ts_recv), sa.func.max(batches.max_ts_recv), sa.func.sum(batches["count"]))
    own = own.join(schema.SESSIONS, schema.SESSIONS.c.session_no == batches.session_no)
    with transaction(engine, "looking at a session's time") as connection:
        first, last, count = connection.execute(own.where(schema.SESSIONS.c.session_id == session_id)).one()
    return None if first is None else (first, last, int(count))


def read_last_trading_ns(engine: sa.Engine, session_id: str) -> int | None:
    """Return the session time in nanoseconds of the last order event or trade, or None without either."""
    session_no = find_session(engine, session_id).session_no
    tables = (schema.ORDER_EVENTS, schema.TRADES)
    with transaction(engine, "looking for the last trade") as connection:
        found = [connection.scalar(sa.select(sa.func.max(t.c.ts)).where(t.c.session_no == session_no)) for t in tables]
    return max((ts for ts in found if ts is not None), default=None)


def find_missing_ticks(engine: sa.Engine, session_id: str, last: int | None) -> list[tuple[int, int]]:
    """Return the gaps in a session's ``seq`` from 1 to ``last``, each as first and last missing number.

    ``last`` None means the highest stored number. Fast without gaps; otherwise a second per million ticks.
    """
    session_no = find_session(engine, session_id).session_no
    ticks, before = schema.TICKS.c, schema.TICKS.alias("before").c
    with transaction(engine, "looking for missing ticks") as connection:
        own = sa.select(sa.func.count(), sa.func.max(ticks.seq)).where(ticks.session_no == session_no)
        count, highest = connection.execute(own).one()
        if count_archived_ticks(connection, session_no):
            return _archived_holes(engine, session_no, last or 0)
        end = max(highest or 0, last or 0)
        if count == end:
            return []
        # A tick without a predecessor ends a gap, which began after the preceding stored tick.
        neighbour = sa.exists().where(before.session_no == session_no, before.seq == ticks.seq - 1)
        starts = sa.select(ticks.seq).where(ticks.session_no == session_no, ticks.seq > 1, ~neighbour)
        place = sa.select(sa.func.max(before.seq)).where(before.session_no == session_no, before.seq < ticks.seq)
        found = connection.execute(starts.add_columns(place.scalar_subquery()).order_by(ticks.seq)).all()
    holes = [((after or 0) + 1, start - 1) for start, after in found]
    return holes if (highest or 0) == end else [*holes, ((highest or 0) + 1, end)]


def _archived_holes(engine: sa.Engine, session_no: int, last: int) -> list[tuple[int, int]]:
    holes: list[tuple[int, int]] = []
    before = 0
    for rows in read_archived_rows(engine, session_no, rows_at_once=ROWS_AT_ONCE):
        numbers = np.concatenate([[before], rows.seq])
        places = np.flatnonzero(np.diff(numbers) > 1)
        holes += [(int(numbers[place]) + 1, int(numbers[place + 1]) - 1) for place in places]
        before = int(numbers[-1])
    return holes if before >= last else [*holes, (before + 1, last)]


def find_seq_ranges(
    engine: sa.Engine, session_id: str, start_ns: int, end_ns: int, clock: TickClock = "ts_event"
) -> list[tuple[int, int]]:
    """Return ranges of ``seq``, first and last, that contain all of a session's ticks with start ≤ time < end.

    The ranges also contain other ticks. They are ordered, and do not overlap if the ticks were written in order.
    """
    batches = schema.TICK_BATCHES.c
    query = (
        sa.select(batches.first_seq, batches.last_seq)
        .join(schema.SESSIONS, schema.SESSIONS.c.session_no == batches.session_no)
        .where(schema.SESSIONS.c.session_id == session_id)
        .where(batches[f"max_{clock}"] >= start_ns, batches[f"min_{clock}"] < end_ns)
        .order_by(batches.first_seq)
    )
    with transaction(engine, "searching ticks by time") as connection:
        return [(first, last) for first, last in connection.execute(query)]


def read_ledger(engine: sa.Engine, session_id: str) -> list[tuple[str, str, str, int]]:
    """Return a session's ledger as ``(kind, name, reason, count)``."""
    ledger = schema.LEDGER.c
    query = sa.select(ledger.kind, ledger.name, ledger.reason, ledger["count"]).where(ledger.session_id == session_id)
    with transaction(engine, "reading the ledger") as connection:
        return [(kind, name, reason, count) for kind, name, reason, count in connection.execute(query)]


def read_gaps(engine: sa.Engine, session_id: str, cause: str) -> list[tuple[str, str, int | None]]:
    """Return a session's gaps of one cause as ``(venue, symbol, missing)``."""
    gaps, sessions = schema.GAPS.c, schema.SESSIONS.c
    query = (
        sa.select(gaps.venue, gaps.symbol, gaps.missing)
        .join(schema.SESSIONS, sessions.session_no == gaps.session_no)
        .where(sessions.session_id == session_id, gaps.cause == cause)
    )
    with transaction(engine, "reading gaps") as connection:
        return [(venue, symbol, missing) for venue, symbol, missing in connection.execute(query)]


def read_pages(engine: sa.Engine, view: sa.Table, session_id: str, rows: int) -> Iterator[list[Any]]:
    """Yield a session's rows of a view in order, in pages of at most ``rows``, each a separate snapshot.

    Archived ticks follow from their files.
    """
    place = view.c[order_column(view)]
    query = sa.select(view).where(view.c.session_id == session_id).order_by(place).limit(rows)
    position = list(view.c).index(place)
    last = -1
    while True:
        with transaction(engine, f"reading {view.name}") as connection:
            page = list(connection.execute(query.where(place > last)))
        if not page:
            break
        yield page
        last = page[-1][position]
    if view.name == "ticks":
        session_no = find_session(engine, session_id).session_no
        for archived in read_archived_view(engine, session_no, after=last, rows_at_once=rows):
            yield [(session_id, *row) for row in archived]
