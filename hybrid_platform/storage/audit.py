"""Audit of a finished session in the database: actual row counts, and the chain signal -> order -> trade.

in: a reading engine and a session's id · out: counts and broken links. The cost grows with the session, not with
the database: every query uses the session's keys.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import sqlalchemy as sa

from hybrid_platform.domain.clocks import NS_PER_MS
from hybrid_platform.domain.decimals import from_units
from hybrid_platform.storage.archive import require_in_database
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.queries import ROWS_AT_ONCE, count_rows, find_session

_LINKS = {
    "trades whose order is missing, or of another symbol, side or venue": """
        SELECT COUNT(*) FROM trade_rows t LEFT JOIN order_rows o
          ON o.session_no = t.session_no AND o.order_id = t.order_id
        WHERE t.session_no = :no
          AND (o.order_id IS NULL OR o.symbol <> t.symbol OR o.venue <> t.venue OR o.side <> t.side)""",
    "orders whose signal is missing, or of another symbol, side, venue, size or tick": """
        SELECT COUNT(*) FROM order_rows o LEFT JOIN signal_rows s
          ON s.session_no = o.session_no AND s.signal_id = o.signal_id
        WHERE o.session_no = :no
          AND (s.signal_id IS NULL OR s.symbol <> o.symbol OR s.venue <> o.venue OR s.side <> o.side
               OR s.size <> o.qty OR s.seq <> o.seq)""",
    "vetoes whose signal is missing, or became an order": """
        SELECT COUNT(*) FROM veto_rows v
          LEFT JOIN signal_rows s ON s.session_no = v.session_no AND s.signal_id = v.signal_id
          LEFT JOIN order_rows o ON o.session_no = v.session_no AND o.order_id = 'O' || substr(v.signal_id, 2)
        WHERE v.session_no = :no AND (s.signal_id IS NULL OR o.order_id IS NOT NULL)""",
    "order events whose order is missing": """
        SELECT COUNT(*) FROM order_event_rows e LEFT JOIN order_rows o
          ON o.session_no = e.session_no AND o.order_id = e.order_id
        WHERE e.session_no = :no AND o.order_id IS NULL""",
}
_UNMARKED = """
    SELECT (SELECT COUNT(*) FROM order_rows WHERE session_no = :no AND NOT is_shadow)
         + (SELECT COUNT(*) FROM trade_rows WHERE session_no = :no AND NOT is_shadow)"""


class Audit(NamedTuple):
    """Counts and faults of a session in the database."""

    counted: dict[str, int]
    """Rows by table."""
    broken_links: dict[str, int]
    """Number of rows by kind of fault; empty without faults."""
    unmarked: int
    """Orders and trades without the shadow mark."""


def audit_session(engine: sa.Engine, session_id: str) -> Audit:
    """Count and check a session's rows; raise StorageError if the database or the session cannot be read."""
    counted = count_rows(engine, session_id)
    number = find_session(engine, session_id).session_no
    with transaction(engine, "auditing the session") as connection:
        broken = {fault: connection.scalar(sa.text(query), {"no": number}) or 0 for fault, query in _LINKS.items()}
        unmarked = connection.scalar(sa.text(_UNMARKED), {"no": number}) or 0
    return Audit(counted, {fault: count for fault, count in broken.items() if count}, unmarked)


def find_highest_prices(
    engine: sa.Engine, session_id: str, *, rows_at_once: int = ROWS_AT_ONCE
) -> dict[tuple[str, str], Decimal]:
    """Return each instrument's highest price in a session, by ``(venue, symbol)``."""
    # In pages: SQLite groups by sorting, and would sort a whole session's ticks in memory.
    query = """
        SELECT i.venue, i.symbol, i.price_scale, MAX(t.price) FROM tick_rows t
          JOIN instruments i ON i.instrument_no = t.instrument_no
        WHERE t.session_no = :no AND t.seq > :after AND t.seq <= :after + :rows GROUP BY i.instrument_no"""
    number = find_session(engine, session_id).session_no
    highest: dict[tuple[str, str], Decimal] = {}
    with transaction(engine, "finding the highest prices") as connection:
        require_in_database(connection, number, "finding the highest prices")
        last = connection.scalar(sa.text("SELECT MAX(seq) FROM tick_rows WHERE session_no = :no"), {"no": number})
        for after in range(0, last or 0, rows_at_once):
            page = connection.execute(sa.text(query), {"no": number, "after": after, "rows": rows_at_once})
            for venue, symbol, scale, price in page:
                found = from_units(price, scale)
                highest[venue, symbol] = max(found, highest.get((venue, symbol), found))
    return highest


def count_orders_on_stale_ticks(engine: sa.Engine, session_id: str, max_staleness_ms: int) -> int:
    """Count orders whose tick, of the same instrument, was received later after its event than allowed (S7)."""
    query = """
        SELECT COUNT(*) FROM order_rows o
          JOIN tick_rows t ON t.session_no = o.session_no AND t.seq = o.seq
          JOIN instruments i ON i.instrument_no = t.instrument_no AND i.symbol = o.symbol AND i.venue = o.venue
        WHERE o.session_no = :no AND t.ts_recv - t.ts_event > :limit_ns"""
    number = find_session(engine, session_id).session_no
    with transaction(engine, "looking for orders on stale ticks") as connection:
        require_in_database(connection, number, "looking for orders on stale ticks")
        return int(connection.scalar(sa.text(query), {"no": number, "limit_ns": max_staleness_ms * NS_PER_MS}) or 0)
