"""The public tables, as views over the narrow storage tables, for scripts outside this package.

Views hold no data, so `migrate` recreates them from here after every change of the tables. Select a session by
``session_id`` and a range by ``seq`` or ``n``: both use the tables' keys. See docs/contract.md for the columns.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from hybrid_platform.storage import schema

_METADATA = sa.MetaData()
VIEW_SQL: dict[str, str] = {}
"""SELECT statement of each view."""


def _view(name: str, select: str, columns: list[sa.Column[Any]]) -> sa.Table:
    VIEW_SQL[name] = select
    return sa.Table(name, _METADATA, sa.Column("session_id", sa.Text), *columns)


def _session_view(name: str) -> sa.Table:
    """Return a view of all columns of a table, with the session's id in place of its number."""
    table = schema.COUNTED_TABLES[name]
    columns = [column for column in table.columns if column.name != "session_no"]
    return _view(
        name,
        f"SELECT s.session_id, {', '.join('r.' + column.name for column in columns)}"  # noqa: S608
        f" FROM sessions s JOIN {table.name} r ON r.session_no = s.session_no",
        [sa.Column(column.name, column.type) for column in columns],
    )


TICKS = _view(
    "ticks",
    # LEFT JOIN: a count does not need the instruments, and a tick whose instrument is missing stays visible.
    """SELECT s.session_id, t.seq, i.venue, i.symbol,
 t.price / i.price_divisor AS price, t.size / i.size_divisor AS volume,
 CASE t.side WHEN 1 THEN 'BUY' WHEN -1 THEN 'SELL' END AS side,
 CAST(t.trade_ref AS TEXT) AS trade_id, t.ts_event, t.ts_recv
 FROM sessions s JOIN tick_rows t ON t.session_no = s.session_no
 LEFT JOIN instruments i ON i.instrument_no = t.instrument_no""",
    [
        sa.Column("seq", sa.BigInteger),
        sa.Column("venue", sa.Text),
        sa.Column("symbol", sa.Text),
        sa.Column("price", sa.Double),
        sa.Column("volume", sa.Double),
        sa.Column("side", sa.Text),
        sa.Column("trade_id", sa.Text),
        sa.Column("ts_event", sa.BigInteger),
        sa.Column("ts_recv", sa.BigInteger),
    ],
)

VIEWS: dict[str, sa.Table] = {"ticks": TICKS} | {
    name: _session_view(name) for name in schema.COUNTED_TABLES if name != "ticks"
}
"""The views with their column types, for typed selects; ``session_id`` comes first in each."""

PUBLIC_TABLES: dict[str, sa.Table] = {"sessions": schema.SESSIONS} | VIEWS | {"ledger": schema.LEDGER}
"""Every public table and view by its name."""


def order_column(table: sa.Table) -> str:
    """Return the name of the column that orders a session's rows of a view."""
    return "seq" if table.name == "ticks" else "n"
