"""The gate's look at the database: PRAGMAs of both kinds of connection, and a reader beside a writer (G3, S1, I5).

in: the database's URL, migrated · out: `PragmaEvidence`, from connections of the factory that everybody
uses. Nothing stays in the database.
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
    """Connect as the session will, read everything back, and read beside an open writing transaction.

    Raises PragmaError for a PRAGMA that did not take, ConfigError for a database that is not SQLite, and
    DatabaseError where it cannot be opened or stays locked.
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
    """Read a table while a writer's transaction on it is open and larger than its cache; then roll it back.

    Without WAL the writer would have had to take the whole file, and the reader's DatabaseError says so.
    """
    with transaction(reading, "reading before the writer") as reader:
        before = _rows(reader)
    with transaction(writing, "writing beside the reader") as writer:
        # A cache of a few pages makes the writer spill its rows to the file, or to the log, before any commit.
        raw_connection(writer).execute("PRAGMA cache_size = 8")
        writer.execute(
            sa.text('INSERT INTO ledger (session_id, kind, name, reason, "count") VALUES (:id, :kind, :name, :pad, 0)'),
            [
                {"id": _PROBE, "kind": "probe", "name": str(row), "pad": "." * _PROBE_BYTES}
                for row in range(_PROBE_ROWS)
            ],
        )
        by_writer = _rows(writer)
        started = time.monotonic_ns()
        with transaction(reading, "reading beside the writer") as reader:
            by_reader = _rows(reader)
        took_ms = (time.monotonic_ns() - started) / NS_PER_MS
        writer.rollback()
    with transaction(reading, "reading after the writer") as reader:
        after = _rows(reader)
    return SnapshotProof(before, by_writer, by_reader, after, round(took_ms, 3))


def _read_back(engine: sa.Engine, role: Role, busy_timeout_ms: int) -> list[PragmaReading]:
    with transaction(engine, "verifying PRAGMAs") as connection:
        found = read_pragmas(raw_connection(connection), role)
    return [
        PragmaReading(role, name, value, found[name]) for name, value in expected_pragmas(role, busy_timeout_ms).items()
    ]


def _rows(connection: sa.Connection) -> int:
    query = sa.text("SELECT count(*) FROM ledger WHERE session_id = :id")
    return int(connection.scalar(query, {"id": _PROBE}) or 0)
