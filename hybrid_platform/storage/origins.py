"""Where each of a session's orders came from: its signal's instant, and the price at which a limit order arrived.

in: a reading engine and a session's id · out: one origin for each order, in order, read in pages: what is
measured and audited afterwards holds the orders that are open, not all that there were.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa

from hybrid_platform.domain.exact import from_units
from hybrid_platform.storage.archive import archived_rows, archived_total
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.queries import ROWS_AT_ONCE, find_session

ORDERS_AT_ONCE = 4_096
_QUERY = """
    SELECT o.n, o.order_id, s.ts, t.price, i.price_scale FROM order_rows o
      LEFT JOIN signal_rows s ON s.session_no = o.session_no AND s.signal_id = o.signal_id
      LEFT JOIN tick_rows t ON t.session_no = o.session_no AND t.seq = o.seq AND o.type = 'LIMIT'
      LEFT JOIN instruments i ON i.instrument_no = t.instrument_no AND i.symbol = o.symbol AND i.venue = o.venue
    WHERE o.session_no = :no AND o.n > :last ORDER BY o.n LIMIT :rows"""


class Origin(NamedTuple):
    """What an order's row does not say."""

    signal_ts: int | None
    """None: its signal is missing."""
    limit_arrival: Decimal | None
    """Of a limit order: the price of the tick that caused it, where that is of its instrument."""


def order_origins(engine: sa.Engine, session_id: str, *, orders_at_once: int = ORDERS_AT_ONCE) -> Iterator[Origin]:
    """Yield the origin of each of a session's orders, by ``n``.

    Only of a session whose ticks were archived are all limit orders held at once.
    """
    number = find_session(engine, session_id).session_no
    with transaction(engine, "looking for archived ticks") as connection:
        is_archived = bool(archived_total(connection, number))
    archived = _archived_arrivals(engine, number) if is_archived else {}
    last = -1
    while True:
        with transaction(engine, "finding where orders came from") as connection:
            asked = {"no": number, "last": last, "rows": orders_at_once}
            page = connection.execute(sa.text(_QUERY), asked).cursor.fetchall()
        for _, order_id, signal_ts, price, scale in page:
            arrival = None if scale is None else from_units(price, scale)
            yield Origin(signal_ts, archived.get(order_id, arrival))
        if len(page) < orders_at_once:
            return
        last = page[-1][0]


def _archived_arrivals(engine: sa.Engine, session_no: int) -> dict[str, Decimal]:
    query = """
        SELECT o.seq, i.instrument_no, o.order_id, i.price_scale FROM order_rows o
          JOIN instruments i ON i.symbol = o.symbol AND i.venue = o.venue
        WHERE o.session_no = :no AND o.type = 'LIMIT'"""
    with transaction(engine, "finding arrival prices") as connection:
        # One tick may have caused many.
        orders: dict[tuple[int, int], list[tuple[str, int]]] = {}
        for seq, instrument, order_id, scale in connection.execute(sa.text(query), {"no": session_no}):
            orders.setdefault((seq, instrument), []).append((order_id, scale))
    wanted = np.array(sorted({seq for seq, _ in orders}), dtype=np.int64)
    found: dict[str, Decimal] = {}
    for rows in archived_rows(engine, session_no, rows_at_once=ROWS_AT_ONCE) if orders else ():
        own = rows.where(np.isin(rows.seq, wanted))
        for key in zip(own.seq.tolist(), own.instrument_no.tolist(), own.price.tolist(), strict=True):
            for order_id, scale in orders.get(key[:2], ()):
                found[order_id] = from_units(key[2], scale)
    return found
