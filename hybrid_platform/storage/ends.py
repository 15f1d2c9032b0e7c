"""The first and last ticks of a session, by instrument: what a session after it goes on from.

in: a reading or writing engine, a session · out: one `TradeSeen` an instrument. Only so many ticks from the end are
looked at, so it costs milliseconds however long the session was; an instrument that was quiet for longer is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from hybrid_platform.storage import schema
from hybrid_platform.storage.archive import archived_files, archived_rows
from hybrid_platform.storage.engine import transaction

TICKS_LOOKED_AT = 20_000


class TradeSeen(NamedTuple):
    """One tick, as far as it matters beyond its session. Times in nanoseconds."""

    ref: int | str | None
    """The venue's trade id, where it has one."""
    ts_event: int
    ts_recv: int


def trades_at_end(
    engine: sa.Engine, session_no: int, end: Literal["first", "last"]
) -> dict[tuple[str, str], TradeSeen]:
    """Return the outermost tick of each ``(venue, symbol)``, archived ones too; raises DatabaseError."""
    ticks, instruments = schema.TICKS.c, schema.INSTRUMENTS.c
    order = ticks.seq.asc() if end == "first" else ticks.seq.desc()
    looked_at = (
        sa.select(ticks.instrument_no, ticks.trade_ref, ticks.ts_event, ticks.ts_recv)
        .where(ticks.session_no == session_no)
        .order_by(order)
        .limit(TICKS_LOOKED_AT)
    )
    with transaction(engine, f"looking at the {end} ticks of a session") as connection:
        names = {number: (venue, symbol) for number, venue, symbol in connection.execute(
            sa.select(instruments.instrument_no, instruments.venue, instruments.symbol)
        )}  # fmt: skip
        rows: list[Any] = list(connection.execute(looked_at))
    found: dict[tuple[str, str], TradeSeen] = {}
    for number, ref, ts_event, ts_recv in rows or islice(_archived(engine, session_no, end), TICKS_LOOKED_AT):
        found.setdefault(names[number], TradeSeen(ref, ts_event, ts_recv))
    return found


def _archived(engine: sa.Engine, session_no: int, end: Literal["first", "last"]) -> Iterator[tuple[Any, ...]]:
    """Yield the same columns of what retention has moved, the outermost first."""
    highest = max((file.last_seq for _, file in archived_files(engine, session_no)), default=0)
    after = -1 if end == "first" else highest - TICKS_LOOKED_AT
    pages = archived_rows(engine, session_no, after=after, rows_at_once=TICKS_LOOKED_AT)
    for rows in pages if end == "first" else reversed(list(pages)):
        columns = (rows.instrument_no.tolist(), rows.refs, rows.ts_event.tolist(), rows.ts_recv.tolist())
        found = list(zip(*columns, strict=True))
        yield from found if end == "first" else reversed(found)
