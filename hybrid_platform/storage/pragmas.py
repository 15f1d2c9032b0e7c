"""The database gate: PRAGMAs of both kinds of connection, and a read during an open write (G3, S1, I5).

in: the URL of a migrated database · out: `PragmaEvidence`, from connections of the factory that all code uses.
Leaves nothing in the database.
"""

from __future__ import annotations

import sqlite3
import time

import sqlalchemy as sa

from hybrid_platform.domain.clocks import NS_PER_MS
from hybrid_platform.domain.records import PragmaEvidence, PragmaReading, SnapshotProof
from hybrid_platform.storage.connection import MIN_BUSY_TIMEOUT_MS, Role, expected_pragmas, read_pragmas
from hybrid_platform.storage.engine import open_engine, raw_connection, transaction
from hybrid_platform.storage.location import redact_url

_PROBE = "pragma-verification"
_PROBE_ROWS, _PROBE_BYTES = 256, 4_096


def verify_pragmas(url: str, *, busy_timeout_ms: int = MIN_BUSY_TIMEOUT_MS) -> PragmaEvidence:
    """Connect as a session does, read the PRAGMAs back, and read during an open writing transaction.

    Raises PragmaError for a PRAGMA that did not take effect, ConfigError for a database that is not SQLite, and
    DatabaseError for one that cannot be opened or stays locked.
    """
    writing = open_engine(url, role="write", busy_timeout_ms=busy_timeout_ms)
    reading = open_engine(url, role="read", busy_timeout_ms=busy_timeout_ms)
    readings = [*_read_back(writing, "write", busy_timeout_ms), *_read_back(reading, "read", busy_timeout_ms)]
    return PragmaEvidence(
        database=redact_url(url),
        sqlite_version=sqlite3.sqlite_version,
        readings=tuple(readings),
        snapshot=prove_snapshot(writing, reading),
    )


def prove_snapshot(writing: sa.Engine, reading: sa.Engine) -> SnapshotProof:
    """Read a table while a writer's transaction on it is open and larger than its cache, then roll it back.

    Raises DatabaseError without WAL, because the writer then locks the whole file.
    """
    with transaction(reading, "reading before the writer") as reader:
        before = _count_probe_rows(reader)
    with transaction(writing, "writing during the read") as writer:
        # A small cache makes the writer spill rows to the file, or to the log, before the commit.
        raw_connection(writer).execute("PRAGMA cache_size = 8")
        writer.execute(
            sa.text('INSERT INTO ledger (session_id, kind, name, reason, "count") VALUES (:id, :kind, :name, :pad, 0)'),
            [
                {"id": _PROBE, "kind": "probe", "name": str(row), "pad": "." * _PROBE_BYTES}
                for row in range(_PROBE_ROWS)
            ],
        )
        by_writer = _count_probe_rows(writer)
        started = time.monotonic_ns()
        with transaction(reading, "reading during the write") as reader:
            by_reader = _count_probe_rows(reader)
        took_ms = (time.monotonic_ns() - started) / NS_PER_MS
        writer.rollback()
    with transaction(reading, "reading after the writer") as reader:
        after = _count_probe_rows(reader)
    return SnapshotProof(before, by_writer, by_reader, after, round(took_ms, 3))


def _read_back(engine: sa.Engine, role: Role, busy_timeout_ms: int) -> list[PragmaReading]:
    with transaction(engine, "verifying PRAGMAs") as connection:
        found = read_pragmas(raw_connection(connection), role)
    return [
        PragmaReading(role, name, value, found[name]) for name, value in expected_pragmas(role, busy_timeout_ms).items()
    ]


def _count_probe_rows(connection: sa.Connection) -> int:
    query = sa.text("SELECT count(*) FROM ledger WHERE session_id = :id")
    return int(connection.scalar(query, {"id": _PROBE}) or 0)
