"""The tables: narrow, keyed by a session's small number, and shown under their public names by `views`.

Rows are appended in key order and never searched while a session writes, so the only indexes are the keys that
prevent duplicate rows (I3). Times are integer nanoseconds since the Unix epoch, UTC. A change here needs a
migration; a test compares the two. The public names and columns are in docs/contract.md.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from hybrid_platform.storage.types import ExactDecimal, TradeRef

METADATA = sa.MetaData(
    naming_convention={"uq": "uq_%(table_name)s_%(column_0_N_name)s", "fk": "fk_%(table_name)s_%(column_0_N_name)s"}
)


def _required(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, **options)


def _per_session(name: str, *columns: sa.schema.SchemaItem, key: str = "n") -> sa.Table:
    """Return a table of rows that belong to a session, clustered by ``(session_no, key)``."""
    number = sa.Column("session_no", sa.Integer, primary_key=True, autoincrement=False)
    place = sa.Column(key, sa.BigInteger, primary_key=True, autoincrement=False)
    return sa.Table(name, METADATA, number, place, *columns, sqlite_with_rowid=False)


SESSIONS = sa.Table(
    "sessions",
    METADATA,
    sa.Column("session_no", sa.Integer, primary_key=True),
    _required("session_id", sa.Text, unique=True),
    _required("run_id", sa.Text),
    _required("mode", sa.Text),
    _required("state", sa.Text),
    sa.Column("exit_code", sa.Integer),
    sa.Column("exit_reason", sa.Text),
    _required("is_clean", sa.Boolean),  # the clean marker: the drain reached its end (S13)
    _required("started_at", sa.BigInteger),
    sa.Column("ended_at", sa.BigInteger),
    _required("config_sha256", sa.Text),
    _required("trading_sha256", sa.Text),
    _required("code_version", sa.Text),
    _required("strategy", sa.Text),
    _required("feed", sa.Text),
    _required("settings", sa.Text),  # JSON: enough to reproduce the session
    _required("pid", sa.Integer),
    _required("host", sa.Text),
    sa.Column("boot_id", sa.Text),
    sa.Column("pid_started", sa.BigInteger),
    sqlite_autoincrement=True,  # a number is never reused, even after its session was removed
)

INSTRUMENTS = sa.Table(
    "instruments",
    METADATA,
    sa.Column("instrument_no", sa.Integer, primary_key=True),
    _required("venue", sa.Text),
    _required("symbol", sa.Text),
    _required("price_scale", sa.Integer),
    _required("size_scale", sa.Integer),
    _required("price_divisor", sa.Double),  # 10^price_scale, exact; the view divides by it
    _required("size_divisor", sa.Double),
    sa.UniqueConstraint("venue", "symbol", "price_scale", "size_scale"),
)

SESSION_INSTRUMENTS = _per_session(
    "session_instruments",
    _required("instrument_no", sa.Integer),
    _required("rules", sa.Text),  # JSON of domain.Instrument, as the session used it
    sa.ForeignKeyConstraint(["session_no"], ["sessions.session_no"]),
    sa.ForeignKeyConstraint(["instrument_no"], ["instruments.instrument_no"]),
)

TICKS = _per_session(
    "tick_rows",
    _required("instrument_no", sa.Integer),
    _required("price", sa.BigInteger),  # integer multiples of 10^-scale of the instrument
    _required("size", sa.BigInteger),
    _required("side", sa.SmallInteger),  # the aggressor: 1 buyer, -1 seller, 0 unknown
    sa.Column("trade_ref", TradeRef),
    _required("ts_event", sa.BigInteger),
    _required("ts_recv", sa.BigInteger),
    key="seq",
)

TICK_BATCHES = _per_session(
    "tick_batches",  # one row per few thousand ticks: a sparse index by time, and a cheap count
    _required("last_seq", sa.BigInteger),
    _required("count", sa.BigInteger),
    _required("min_ts_event", sa.BigInteger),
    _required("max_ts_event", sa.BigInteger),
    _required("min_ts_recv", sa.BigInteger),
    _required("max_ts_recv", sa.BigInteger),
    sa.ForeignKeyConstraint(["session_no"], ["sessions.session_no"]),
    key="first_seq",
)

TICK_ARCHIVES = _per_session(
    "tick_archives",  # one row per Parquet file of ticks that are no longer in tick_rows
    _required("part", sa.BigInteger),  # the files of one part hold one range of seq
    _required("instrument_no", sa.Integer),
    _required("day", sa.Text),  # of the event, UTC
    _required("folder", sa.Text),  # absolute, or relative to the database's directory
    _required("path", sa.Text),  # relative to the folder
    _required("count", sa.BigInteger),
    _required("first_seq", sa.BigInteger),
    _required("last_seq", sa.BigInteger),
    _required("bytes", sa.BigInteger),
    _required("sha256", sa.Text),  # of the file
    _required("archived_at", sa.BigInteger),
    sa.ForeignKeyConstraint(["session_no"], ["sessions.session_no"]),
)

SIGNALS = _per_session(
    "signal_rows",
    _required("signal_id", sa.Text),
    _required("seq", sa.BigInteger),
    _required("venue", sa.Text),
    _required("symbol", sa.Text),
    _required("side", sa.Text),
    _required("size", ExactDecimal),
    _required("confidence", sa.Double),
    _required("reason", sa.Text),
    _required("ts", sa.BigInteger),
    sa.UniqueConstraint("session_no", "signal_id"),
)

VETOES = _per_session(
    "veto_rows",
    _required("signal_id", sa.Text),
    _required("seq", sa.BigInteger),
    _required("venue", sa.Text),
    _required("symbol", sa.Text),
    _required("reason", sa.Text),
    _required("detail", sa.Text),
    _required("ts", sa.BigInteger),
    sa.UniqueConstraint("session_no", "signal_id"),
)

ORDERS = _per_session(
    "order_rows",
    _required("order_id", sa.Text),
    _required("signal_id", sa.Text),
    _required("seq", sa.BigInteger),
    _required("venue", sa.Text),
    _required("symbol", sa.Text),
    _required("side", sa.Text),
    _required("type", sa.Text),
    _required("qty", ExactDecimal),
    sa.Column("price", ExactDecimal),
    _required("time_in_force", sa.Text),
    _required("reduce_only", sa.Boolean),
    _required("status", sa.Text),  # the latest
    _required("is_shadow", sa.Boolean),
    _required("ts", sa.BigInteger),
    sa.UniqueConstraint("session_no", "order_id"),
)

ORDER_EVENTS = _per_session(
    "order_event_rows",
    _required("order_id", sa.Text),
    _required("status", sa.Text),
    _required("reason", sa.Text),
    _required("ts", sa.BigInteger),
)

TRADES = _per_session(
    "trade_rows",
    _required("trade_id", sa.Text),
    _required("order_id", sa.Text),
    _required("venue", sa.Text),
    _required("symbol", sa.Text),
    _required("side", sa.Text),
    _required("fill_qty", ExactDecimal),
    _required("fill_price", ExactDecimal),
    _required("fees", ExactDecimal),
    _required("is_shadow", sa.Boolean),
    _required("ts", sa.BigInteger),
    sa.UniqueConstraint("session_no", "trade_id"),
)

INPUTS = _per_session(
    "input_rows",
    _required("after_seq", sa.BigInteger),
    _required("kind", sa.Text),
    _required("ts", sa.BigInteger),
    _required("detail", sa.Text),
)

HEARTBEATS = _per_session(
    "heartbeat_rows",
    _required("ts", sa.BigInteger),
    _required("late_ms", sa.BigInteger),
    _required("is_late", sa.Boolean),
    _required("detail", sa.Text),
)

GAPS = _per_session(
    "gap_rows",
    _required("venue", sa.Text),
    _required("symbol", sa.Text),
    sa.Column("from_id", sa.Text),
    sa.Column("to_id", sa.Text),
    sa.Column("missing", sa.BigInteger),
    _required("cause", sa.Text),
    _required("ts_from", sa.BigInteger),
    _required("ts_to", sa.BigInteger),
    _required("ts", sa.BigInteger),
)

LEDGER = sa.Table(
    "ledger",
    METADATA,
    sa.Column("session_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, primary_key=True),
    _required("count", sa.BigInteger),
    sqlite_with_rowid=False,
)

COUNTED_TABLES = {
    "ticks": TICKS,
    "signals": SIGNALS,
    "vetoes": VETOES,
    "orders": ORDERS,
    "order_events": ORDER_EVENTS,
    "trades": TRADES,
    "inputs": INPUTS,
    "heartbeats": HEARTBEATS,
    "gaps": GAPS,
}
"""Storage table of each public table whose rows the ledger counts (kind ``table``)."""
