"""The tables: narrow ones keyed by a session's small number, which the views of `views` show under SPEC 10's names.

Rows are appended in key order and never looked up while they are written, so there is no index beside
the keys that forbid a row twice (I3). Times are integer nanoseconds since the Unix epoch, UTC. A change
here needs a migration; a test compares the two.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from hybrid_platform.storage.types import ExactDecimal, TradeRef

METADATA = sa.MetaData(
    naming_convention={"uq": "uq_%(table_name)s_%(column_0_N_name)s", "fk": "fk_%(table_name)s_%(column_0_N_name)s"}
)


def _must(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, **options)


def _per_session(name: str, *columns: sa.schema.SchemaItem, key: str = "n") -> sa.Table:
    """A table whose rows belong to a session, clustered by ``(session_no, key)``."""
    number = sa.Column("session_no", sa.Integer, primary_key=True, autoincrement=False)
    place = sa.Column(key, sa.BigInteger, primary_key=True, autoincrement=False)
    return sa.Table(name, METADATA, number, place, *columns, sqlite_with_rowid=False)


SESSIONS = sa.Table(
    "sessions",
    METADATA,
    sa.Column("session_no", sa.Integer, primary_key=True),
    _must("session_id", sa.Text, unique=True),
    _must("run_id", sa.Text),
    _must("mode", sa.Text),
    _must("state", sa.Text),
    sa.Column("exit_code", sa.Integer),
    sa.Column("exit_reason", sa.Text),
    _must("is_clean", sa.Boolean),  # the clean marker of a drain that reached its end (S13)
    _must("started_at", sa.BigInteger),
    sa.Column("ended_at", sa.BigInteger),
    _must("config_sha256", sa.Text),
    _must("trading_sha256", sa.Text),
    _must("code_version", sa.Text),
    _must("strategy", sa.Text),
    _must("feed", sa.Text),
    _must("settings", sa.Text),  # JSON: what a session can be reproduced from
    _must("pid", sa.Integer),
    _must("host", sa.Text),
    sa.Column("boot_id", sa.Text),
    sa.Column("pid_started", sa.BigInteger),
    sqlite_autoincrement=True,  # a number is never given again, even when its session was removed
)

INSTRUMENTS = sa.Table(
    "instruments",
    METADATA,
    sa.Column("instrument_no", sa.Integer, primary_key=True),
    _must("venue", sa.Text),
    _must("symbol", sa.Text),
    _must("price_scale", sa.Integer),
    _must("size_scale", sa.Integer),
    _must("price_divisor", sa.Double),  # 10^price_scale, exact: the view divides by it
    _must("size_divisor", sa.Double),
    sa.UniqueConstraint("venue", "symbol", "price_scale", "size_scale"),
)

SESSION_INSTRUMENTS = _per_session(
    "session_instruments",
    _must("instrument_no", sa.Integer),
    _must("rules", sa.Text),  # JSON of domain.Instrument, as the session used it
    sa.ForeignKeyConstraint(["session_no"], ["sessions.session_no"]),
    sa.ForeignKeyConstraint(["instrument_no"], ["instruments.instrument_no"]),
)

TICKS = _per_session(
    "tick_rows",
    _must("instrument_no", sa.Integer),
    _must("price", sa.BigInteger),  # integers of 10^-scale of the instrument
    _must("size", sa.BigInteger),
    _must("side", sa.SmallInteger),  # the aggressor: 1 buyer, -1 seller, 0 unknown
    sa.Column("trade_ref", TradeRef),
    _must("ts_event", sa.BigInteger),
    _must("ts_recv", sa.BigInteger),
    key="seq",
)

TICK_BATCHES = _per_session(
    "tick_batches",  # one row for some thousand ticks: the sparse index by time, and a cheap count
    _must("last_seq", sa.BigInteger),
    _must("count", sa.BigInteger),
    _must("min_ts_event", sa.BigInteger),
    _must("max_ts_event", sa.BigInteger),
    _must("min_ts_recv", sa.BigInteger),
    _must("max_ts_recv", sa.BigInteger),
    sa.ForeignKeyConstraint(["session_no"], ["sessions.session_no"]),
    key="first_seq",
)

TICK_ARCHIVES = _per_session(
    "tick_archives",  # one row for each Parquet file that holds ticks which are no longer in tick_rows
    _must("part", sa.BigInteger),  # files of one part hold the ticks of one range of seq
    _must("instrument_no", sa.Integer),
    _must("day", sa.Text),  # of the event, UTC
    _must("folder", sa.Text),  # absolute, or relative to the database's directory
    _must("path", sa.Text),  # relative to the folder
    _must("count", sa.BigInteger),
    _must("first_seq", sa.BigInteger),
    _must("last_seq", sa.BigInteger),
    _must("bytes", sa.BigInteger),
    _must("sha256", sa.Text),  # of the file
    _must("archived_at", sa.BigInteger),
    sa.ForeignKeyConstraint(["session_no"], ["sessions.session_no"]),
)

SIGNALS = _per_session(
    "signal_rows",
    _must("signal_id", sa.Text),
    _must("seq", sa.BigInteger),
    _must("venue", sa.Text),
    _must("symbol", sa.Text),
    _must("side", sa.Text),
    _must("size", ExactDecimal),
    _must("confidence", sa.Double),
    _must("reason", sa.Text),
    _must("ts", sa.BigInteger),
    sa.UniqueConstraint("session_no", "signal_id"),
)

VETOES = _per_session(
    "veto_rows",
    _must("signal_id", sa.Text),
    _must("seq", sa.BigInteger),
    _must("venue", sa.Text),
    _must("symbol", sa.Text),
    _must("reason", sa.Text),
    _must("detail", sa.Text),
    _must("ts", sa.BigInteger),
    sa.UniqueConstraint("session_no", "signal_id"),
)

ORDERS = _per_session(
    "order_rows",
    _must("order_id", sa.Text),
    _must("signal_id", sa.Text),
    _must("seq", sa.BigInteger),
    _must("venue", sa.Text),
    _must("symbol", sa.Text),
    _must("side", sa.Text),
    _must("type", sa.Text),
    _must("qty", ExactDecimal),
    sa.Column("price", ExactDecimal),
    _must("time_in_force", sa.Text),
    _must("reduce_only", sa.Boolean),
    _must("status", sa.Text),  # the latest
    _must("is_shadow", sa.Boolean),
    _must("ts", sa.BigInteger),
    sa.UniqueConstraint("session_no", "order_id"),
)

ORDER_EVENTS = _per_session(
    "order_event_rows",
    _must("order_id", sa.Text),
    _must("status", sa.Text),
    _must("reason", sa.Text),
    _must("ts", sa.BigInteger),
)

TRADES = _per_session(
    "trade_rows",
    _must("trade_id", sa.Text),
    _must("order_id", sa.Text),
    _must("venue", sa.Text),
    _must("symbol", sa.Text),
    _must("side", sa.Text),
    _must("fill_qty", ExactDecimal),
    _must("fill_price", ExactDecimal),
    _must("fees", ExactDecimal),
    _must("is_shadow", sa.Boolean),
    _must("ts", sa.BigInteger),
    sa.UniqueConstraint("session_no", "trade_id"),
)

INPUTS = _per_session(
    "input_rows",
    _must("after_seq", sa.BigInteger),
    _must("kind", sa.Text),
    _must("ts", sa.BigInteger),
    _must("detail", sa.Text),
)

HEARTBEATS = _per_session(
    "heartbeat_rows",
    _must("ts", sa.BigInteger),
    _must("late_ms", sa.BigInteger),
    _must("is_late", sa.Boolean),
    _must("detail", sa.Text),
)

GAPS = _per_session(
    "gap_rows",
    _must("venue", sa.Text),
    _must("symbol", sa.Text),
    sa.Column("from_id", sa.Text),
    sa.Column("to_id", sa.Text),
    sa.Column("missing", sa.BigInteger),
    _must("cause", sa.Text),
    _must("ts_from", sa.BigInteger),
    _must("ts_to", sa.BigInteger),
    _must("ts", sa.BigInteger),
)

LEDGER = sa.Table(
    "ledger",
    METADATA,
    sa.Column("session_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, primary_key=True),
    _must("count", sa.BigInteger),
    sqlite_with_rowid=False,
)

COUNTED = {
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
"""Table of SPEC 10 -> where its rows are; what the ledger counts (kind ``table``)."""
