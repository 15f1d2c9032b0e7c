"""The first and last ticks of a session, by instrument: what a session after it goes on from.

in: a reading or writing engine, a session · out: one `TradeSeen` an instrument. Only so many ticks from the end are
looked at, so it costs milliseconds however long the session was; an instrument that was quiet for longer is left out.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import sqlalchemy as sa

from hybrid_platform.storage import schema
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
    """Return the outermost tick of each ``(venue, symbol)``; raises DatabaseError."""
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
        found: dict[tuple[str, str], TradeSeen] = {}
        for number, ref, ts_event, ts_recv in connection.execute(looked_at):
            found.setdefault(names[number], TradeSeen(ref, ts_event, ts_recv))
    return found
