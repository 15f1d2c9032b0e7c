"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from hybrid_platform.storage.types import ExactDecimal, TradeRef

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("session_no", sa.Integer, primary_key=True),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("exit_reason", sa.Text),
        sa.Column("is_clean", sa.Boolean, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("config_sha256", sa.Text, nullable=False),
        sa.Column("trading_sha256", sa.Text, nullable=False),
        sa.Column("code_version", sa.Text, nullable=False),
        sa.Column("strategy", sa.Text, nullable=False),
        sa.Column("feed", sa.Text, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("boot_id", sa.Text),
        sa.Column("pid_started", sa.BigInteger),
        sa.UniqueConstraint("session_id", name="uq_sessions_session_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "instruments",
        sa.Column("instrument_no", sa.Integer, primary_key=True),
        sa.Column("venue", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("price_scale", sa.Integer, nullable=False),
        sa.Column("size_scale", sa.Integer, nullable=False),
        sa.Column("price_divisor", sa.Double, nullable=False),
        sa.Column("size_divisor", sa.Double, nullable=False),
        sa.UniqueConstraint(
            "venue", "symbol", "price_scale", "size_scale", name="uq_instruments_venue_symbol_price_scale_size_scale"
        ),
    )
    _per_session(
        "session_instruments",
        "n",
        sa.Column("instrument_no", sa.Integer, nullable=False),
        sa.Column("rules", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["session_no"], ["sessions.session_no"], name="fk_session_instruments_session_no"),
        sa.ForeignKeyConstraint(
            ["instrument_no"], ["instruments.instrument_no"], name="fk_session_instruments_instrument_no"
        ),
    )
    _per_session(
        "tick_rows",
        "seq",
        sa.Column("instrument_no", sa.Integer, nullable=False),
        sa.Column("price", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("side", sa.SmallInteger, nullable=False),
        sa.Column("trade_ref", TradeRef),
        sa.Column("ts_event", sa.BigInteger, nullable=False),
        sa.Column("ts_recv", sa.BigInteger, nullable=False),
    )
    _per_session(
        "tick_batches",
        "first_seq",
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("min_ts_event", sa.BigInteger, nullable=False),
        sa.Column("max_ts_event", sa.BigInteger, nullable=False),
        sa.Column("min_ts_recv", sa.BigInteger, nullable=False),
        sa.Column("max_ts_recv", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["session_no"], ["sessions.session_no"], name="fk_tick_batches_session_no"),
    )
    _per_session(
        "signal_rows",
        "n",
        sa.Column("signal_id", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("venue", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("size", ExactDecimal, nullable=False),
        sa.Column("confidence", sa.Double, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("ts", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("session_no", "signal_id", name="uq_signal_rows_session_no_signal_id"),
    )
    _per_session(
        "veto_rows",
        "n",
        sa.Column("signal_id", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("venue", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("ts", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("session_no", "signal_id", name="uq_veto_rows_session_no_signal_id"),
    )
    _per_session(
        "order_rows",
        "n",
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("signal_id", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("venue", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("qty", ExactDecimal, nullable=False),
        sa.Column("price", ExactDecimal),
        sa.Column("time_in_force", sa.Text, nullable=False),
        sa.Column("reduce_only", sa.Boolean, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("is_shadow", sa.Boolean, nullable=False),
        sa.Column("ts", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("session_no", "order_id", name="uq_order_rows_session_no_order_id"),
    )
    _per_session(
        "order_event_rows",
        "n",
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("ts", sa.BigInteger, nullable=False),
    )
    _per_session(
        "trade_rows",
        "n",
        sa.Column("trade_id", sa.Text, nullable=False),
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("venue", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("fill_qty", ExactDecimal, nullable=False),
        sa.Column("fill_price", ExactDecimal, nullable=False),
        sa.Column("fees", ExactDecimal, nullable=False),
        sa.Column("is_shadow", sa.Boolean, nullable=False),
        sa.Column("ts", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("session_no", "trade_id", name="uq_trade_rows_session_no_trade_id"),
    )
    _per_session(
        "input_rows",
        "n",
        sa.Column("after_seq", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("ts", sa.BigInteger, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    _per_session(
        "heartbeat_rows",
        "n",
        sa.Column("ts", sa.BigInteger, nullable=False),
        sa.Column("late_ms", sa.BigInteger, nullable=False),
        sa.Column("is_late", sa.Boolean, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    _per_session(
        "gap_rows",
        "n",
        sa.Column("venue", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("from_id", sa.Text),
        sa.Column("to_id", sa.Text),
        sa.Column("missing", sa.BigInteger),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("ts_from", sa.BigInteger, nullable=False),
        sa.Column("ts_to", sa.BigInteger, nullable=False),
        sa.Column("ts", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "ledger",
        sa.Column("session_id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def _per_session(name: str, key: str, *columns: sa.schema.SchemaItem) -> None:
    op.create_table(
        name,
        sa.Column("session_no", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column(key, sa.BigInteger, primary_key=True, autoincrement=False),
        *columns,
        sqlite_with_rowid=False,
    )
