"""Migrations: complete, repeatable, safe to run concurrently, and refused for other databases."""

from __future__ import annotations

import io
import json
import sqlite3
import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from hybrid_platform.domain.errors import ConfigError, ExitCode
from hybrid_platform.storage import views
from hybrid_platform.storage.engine import open_engine, transaction
from hybrid_platform.storage.migrate import alembic_config, migrate
from hybrid_platform.storage.migrations import REVISION
from hybrid_platform.storage.probe import probe_database
from hybrid_platform.storage.schema import METADATA

PUBLIC_COLUMNS = {
    "sessions": "session_id run_id mode state exit_code exit_reason started_at ended_at config_sha256 code_version"
    " strategy feed",
    "ticks": "session_id seq venue symbol price volume side trade_id ts_event ts_recv",
    "signals": "session_id signal_id seq venue symbol side size confidence reason ts",
    "vetoes": "session_id signal_id seq venue symbol reason detail ts",
    "orders": "session_id order_id signal_id seq venue symbol side type qty price status is_shadow ts",
    "order_events": "session_id n order_id status reason ts",
    "trades": "session_id n trade_id order_id venue symbol side fill_qty fill_price fees is_shadow ts",
    "inputs": "session_id n after_seq kind ts detail",
    "heartbeats": "session_id n ts late_ms is_late detail",
    "ledger": "session_id kind name reason count",
}

REVISIONS = ["0001", "0002"]
pytestmark = pytest.mark.scenario("S1")


def test_a_new_database_gets_every_revision_once(url):
    engine = open_engine(url, role="write")
    assert migrate(engine) == REVISIONS
    assert migrate(engine) == []


def test_the_newest_revision_is_the_one_that_the_code_expects():
    assert ScriptDirectory.from_config(alembic_config()).get_current_head() == REVISION


def test_models_and_migrations_agree(writing):
    with writing.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
        made = sa.MetaData()
        made.reflect(connection)
    for name, table in METADATA.tables.items():
        assert list(made.tables[name].columns.keys()) == list(table.columns.keys())
        assert [c.name for c in made.tables[name].primary_key] == [c.name for c in table.primary_key]
        assert [c.nullable for c in made.tables[name].c] == [c.nullable for c in table.c]


@pytest.mark.parametrize("name", PUBLIC_COLUMNS)
def test_the_public_tables_and_columns_exist(writing, name):
    with writing.connect() as connection:
        columns = list(connection.exec_driver_sql(f"SELECT * FROM {name}").keys())
    assert set(PUBLIC_COLUMNS[name].split()) <= set(columns)
    assert [column.name for column in views.PUBLIC_TABLES[name].c] == columns


def test_tables_with_many_rows_are_clustered_by_session(writing):
    with writing.connect() as connection:
        ddl = dict(connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'").all())
    for name in ("tick_rows", "signal_rows", "order_rows", "order_event_rows", "trade_rows", "tick_batches"):
        assert "WITHOUT ROWID" in ddl[name]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM ticks WHERE session_id = 'x' AND seq > 5 ORDER BY seq LIMIT 10",
        "SELECT * FROM trades WHERE session_id = 'x' AND n > 5 ORDER BY n LIMIT 10",
    ],
)
def test_a_range_of_a_session_is_read_without_scan_or_sort(writing, query):
    with writing.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
    assert not [step for step in plan if "SCAN" in step or "TEMP B-TREE" in step], plan


def test_the_migrations_can_be_printed_as_sql():
    """Alembic's offline mode needs no connection."""
    printed = io.StringIO()
    config = alembic_config()
    config.output_buffer = printed
    config.set_main_option("sqlalchemy.url", "sqlite://")
    command.upgrade(config, "head", sql=True)
    assert printed.getvalue().count("CREATE TABLE") == len(METADATA.tables) + 1


RACE = """
import json, sys
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.migrate import migrate
sys.stdin.readline()
print(json.dumps(migrate(open_engine(sys.argv[1], role="write"))))
"""


def test_processes_that_start_at_once_migrate_once(url):
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    applied = [json.loads(racer.communicate(timeout=60)[0]) for racer in racers]
    assert sorted(applied) == [[], [], REVISIONS]


def test_a_database_of_a_newer_release_is_refused_unchanged(writing, url):
    with transaction(writing, "making it newer") as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match=f"up to revision {REVISION}, got 9999, of a newer release") as caught:
        migrate(writing)
    assert caught.value.exit_code is ExitCode.CONFIG
    assert probe_database(url).detail == f"expected schema {REVISION}, got 9999"


def test_another_programs_database_is_refused_unchanged(path, url):
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (mine)")
    connection.close()
    with pytest.raises(ConfigError, match="an empty one, or one of this platform, got tables orders"):
        migrate(open_engine(url, role="write"))
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("orders",)]
    connection.close()


def test_a_failed_migration_is_rolled_back(url, monkeypatch):
    monkeypatch.setitem(views.VIEW_SQL, "ticks", "SELECT nonsense FROM nowhere, )")
    engine = open_engine(url, role="write")
    with pytest.raises(Exception, match="migrating the database"):
        migrate(engine)
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == []
    monkeypatch.undo()
    assert migrate(engine) == REVISIONS


def test_a_probe_distinguishes_new_foreign_and_current_databases(path, url, writing, writer):
    from hybrid_platform_tests.storage.samples import make_table, make_ticks

    writer.write([make_ticks(make_table(), 1, 5)], [])
    assert (probe_database(url).schema, probe_database(url).ticks, probe_database(url).detail) == (REVISION, 5, "")
    new = probe_database(url.replace("bot.db", "new.db"))
    assert (new.exists, new.readable, new.detail) == (False, False, "no such file")
    assert not (path.parent / "new.db").exists()
    (path.parent / "junk.db").write_bytes(b"junk" * 1000)
    junk = probe_database(url.replace("bot.db", "junk.db"))
    assert (junk.exists, junk.readable) == (True, False)
    assert "NOT_A_DATABASE" in junk.detail
