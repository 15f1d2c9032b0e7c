"""Table of the files of ticks that retention moved out of the database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tick_archives",
        sa.Column("session_no", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("part", sa.BigInteger, nullable=False),
        sa.Column("instrument_no", sa.Integer, nullable=False),
        sa.Column("day", sa.Text, nullable=False),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("first_seq", sa.BigInteger, nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("archived_at", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["session_no"], ["sessions.session_no"], name="fk_tick_archives_session_no"),
        sqlite_with_rowid=False,
    )
