"""Bring a database to this release's schema: all revisions that miss, and the views, in one transaction (S1).

in: a writing engine · out: the revisions applied. Two processes that start at once are safe: the second
waits for the first one's lock and finds nothing to do. A database of a newer release, or of another
program, is refused before anything is written to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.storage import views
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.migrations import REVISION

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(engine: sa.Engine) -> list[str]:
    """Apply what misses; return the revisions applied, oldest first, or an empty list.

    Raises ConfigError for a database of a newer release or of another program, StorageError for what
    cannot be opened, locked or written.
    """
    with transaction(engine, "migrating the database") as connection:
        was = revision_of(connection)
        if was == REVISION:
            return []
        from alembic import command
        from alembic.script import ScriptDirectory

        config = alembic_config()
        script = ScriptDirectory.from_config(config)
        if was is not None and was not in {each.revision for each in script.walk_revisions()}:
            raise ConfigError([Fault("database", f"a schema up to revision {REVISION}", f"{was}, of a newer release")])
        missing = [each.revision for each in script.iterate_revisions("head", was or "base")]
        config.attributes["connection"] = connection
        for name in views.SQL:
            connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
        command.upgrade(config, "head")
        for name, select in views.SQL.items():
            connection.exec_driver_sql(f"CREATE VIEW {name} AS {select}")
        return missing[::-1]


def revision_of(connection: sa.Connection) -> str | None:
    """Return a database's revision; None for an empty one.

    Raises ConfigError for a database that another program made.
    """
    tables = sa.inspect(connection).get_table_names()
    if "alembic_version" in tables and "sessions" in tables:
        revision: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        return revision
    if tables:
        found = f"tables {', '.join(tables[:5])}"
        raise ConfigError([Fault("database", "an empty one, or one of this platform", found)])
    return None


def known_revisions() -> frozenset[str]:
    """Return every revision that this release can bring up to its own."""
    from alembic.script import ScriptDirectory

    return frozenset(each.revision for each in ScriptDirectory.from_config(alembic_config()).walk_revisions())


def alembic_config() -> Config:
    """Return the configuration under which Alembic finds the revisions."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config
