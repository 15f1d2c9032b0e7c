"""Read-only probe of the database for the healthcheck: existence, readability, schema and number of ticks.

in: a URL · out: a `DatabaseReport`. The probe never creates a file, takes the same time at any size, and avoids
SQLAlchemy, which takes longer to load than the probe to run.
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
    """Return a report on the database; faults are in the report, and nothing is raised or created."""
    exists = True
    try:
        path = sqlite_path(url)
        exists = path.exists()
        return _probe_file(path) if exists else _report_absent("no such file")
    except PlatformError as error:
        return DatabaseReport(exists=exists, readable=False, schema=None, ticks=None, detail=str(error))


def _probe_file(path: Path) -> DatabaseReport:
    """Return schema and number of ticks; both None for a database of another program."""
    with closing(connect(path, "read", MIN_BUSY_TIMEOUT_MS)) as connection:
        try:
            apply_pragmas(connection, "read", MIN_BUSY_TIMEOUT_MS, str(path))
        except PragmaError as error:
            # A copy made by VACUUM INTO is not in WAL mode: the first writer switches it, or fails at its gate.
            if error.pragma != "journal_mode":
                raise
        with storage_errors(f"probing {path}"):
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if not tables:
                # Its creator was killed before the first table: treat it as missing, and let a start continue with it.
                return _report_absent("an empty file")
            revision = ticks = None
            if {"alembic_version", "tick_batches"} <= tables:
                (revision,) = connection.execute("SELECT max(version_num) FROM alembic_version").fetchone()
                (ticks,) = connection.execute('SELECT coalesce(sum("count"), 0) FROM tick_batches').fetchone()
    detail = "" if revision == REVISION else f"expected schema {REVISION}, got {revision or 'none'}"
    return DatabaseReport(exists=True, readable=True, schema=revision, ticks=ticks, detail=detail)


def _report_absent(reason: str) -> DatabaseReport:
    return DatabaseReport(exists=False, readable=False, schema=None, ticks=None, detail=reason)
