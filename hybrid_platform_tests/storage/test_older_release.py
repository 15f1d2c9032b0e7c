"""Migration of a first-release database with sessions: every row stays readable."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import (
    GapRecord,
    HeartbeatRecord,
    InputRecord,
    OrderEventRecord,
    OrderRecord,
    SignalRecord,
    TradeRecord,
    VetoRecord,
)
from hybrid_platform.storage.audit import audit_session
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.frames import frames
from hybrid_platform.storage.migrate import migrate
from hybrid_platform.storage.probe import probe_database
from hybrid_platform.storage.queries import find_sessions, read_ledger
from hybrid_platform.storage.reader import read_records, read_tick_batches
from hybrid_platform.storage.views import PUBLIC_TABLES
from hybrid_platform_tests.storage.samples import create_release_database

RELEASES = sorted(path.stem for path in (Path(__file__).parent / "releases").glob("*.sql"))

pytestmark = pytest.mark.scenario("S1")


@pytest.fixture(params=RELEASES)
def old(request: pytest.FixtureRequest, path: Path) -> Path:
    return create_release_database(request.param, path)


def values(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of every table and view but Alembic's, unconverted."""
    with closing(sqlite3.connect(path)) as connection:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table','view')")
        ]
        return {
            name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr)
            for name in names
            if name != "alembic_version"
        }


def test_migration_keeps_every_row_unchanged(old: Path, url: str):
    before = values(old)
    assert migrate(open_engine(url, role="write")) == ["0002"]
    after = values(old)
    assert {name: after[name] for name in before} == before
    assert all(before[name] for name in before), "the fixture holds something of everything"
    assert migrate(open_engine(url, role="write")) == []


def test_this_releases_readers_read_every_row(old: Path, url: str):
    engine = open_engine(url, role="write")
    migrate(engine)
    for session in find_sessions(engine):
        ledger = {row[:3]: row[3] for row in read_ledger(engine, session.session_id)}
        audit = audit_session(engine, session.session_id)
        assert not audit.broken_links
        tables = frames(engine, session.session_id)
        for name, count in audit.counted.items():
            assert ledger["table", name, "counted"] == count == len(tables[name])
        assert set(tables) == set(PUBLIC_TABLES)
        batches = list(read_tick_batches(engine, session.session_id, InstrumentTable()))
        assert sum(map(len, batches)) == audit.counted["ticks"]
        kinds = {
            SignalRecord: "signals", VetoRecord: "vetoes", OrderRecord: "orders", OrderEventRecord: "order_events",
            TradeRecord: "trades", InputRecord: "inputs", HeartbeatRecord: "heartbeats", GapRecord: "gaps",
        }  # fmt: skip
        for kind, name in kinds.items():
            assert len(list(read_records(engine, session.session_id, kind))) == audit.counted[name]


def test_an_old_database_can_be_read_before_migration(old: Path, url: str):
    assert probe_database(url).detail == "expected schema 0002, got 0001"
    reading = open_engine(url, role="read")
    session = find_sessions(reading)[0]
    assert len(frames(reading, session.session_id)["ticks"]) == 40
    with reading.connect() as connection:
        assert not sa.inspect(connection).has_table("tick_archives")
