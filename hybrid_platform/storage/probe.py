"""A read-only look at the database, for the healthcheck: is it there, is it readable, is it ours, how full is it.

in: a URL · out: a `DatabaseReport`. It never makes a file, costs the same at any size, and does without
SQLAlchemy, which takes longer to load than the look.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.domain.records import DatabaseReport
from hybrid_platform.storage.connection import MIN_BUSY_TIMEOUT_MS, apply_pragmas, connect
from hybrid_platform.storage.errors import PragmaError, storage_errors
from hybrid_platform.storage.location import sqlite_path
from hybrid_platform.storage.migrations import REVISION


def probe_database(url: str) -> DatabaseReport:
    """Return what a look finds; what is wrong is in the report, nothing is raised or created."""
    exists = True
    try:
        path = sqlite_path(url)
        exists = path.exists()
        return _look(path) if exists else _absent("no such file")
    except PlatformError as error:
        return DatabaseReport(exists=exists, readable=False, schema=None, ticks=None, detail=str(error))


def _look(path: Path) -> DatabaseReport:
    """Return schema and number of ticks; both None where the schema is not ours."""
    with closing(connect(path, "read", MIN_BUSY_TIMEOUT_MS)) as connection:
        try:
            apply_pragmas(connection, "read", MIN_BUSY_TIMEOUT_MS, str(path))
        except PragmaError as error:
            # A copy made by VACUUM INTO is not in WAL mode: the first writer switches it, or stops at its own gate.
            if error.pragma != "journal_mode":
                raise
        with storage_errors(f"looking at {path}"):
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if not tables:
                # Whoever made it was killed before its first table: as good as none, a start goes on with it.
                return _absent("an empty file")
            revision = ticks = None
            if {"alembic_version", "tick_batches"} <= tables:
                (revision,) = connection.execute("SELECT max(version_num) FROM alembic_version").fetchone()
                (ticks,) = connection.execute('SELECT coalesce(sum("count"), 0) FROM tick_batches').fetchone()
    detail = "" if revision == REVISION else f"expected schema {REVISION}, got {revision or 'none'}"
    return DatabaseReport(exists=True, readable=True, schema=revision, ticks=ticks, detail=detail)


def _absent(why: str) -> DatabaseReport:
    return DatabaseReport(exists=False, readable=False, schema=None, ticks=None, detail=why)
