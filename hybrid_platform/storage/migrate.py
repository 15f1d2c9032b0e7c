"""Migration to this release's schema: all missing revisions and the views, in one transaction (S1).

in: a writing engine · out: the revisions applied. Two processes may start at once: the second waits for the
lock of the first and finds nothing to do. A database of a newer release, or of another program, is refused
before anything is written to it.
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
    """Apply the missing revisions and return them, oldest first.

    Raises ConfigError for a database of a newer release or of another program, StorageError for one that cannot be
    opened, locked or written.
    """
    with transaction(engine, "migrating the database") as connection:
        current = read_revision(connection)
        if current == REVISION:
            return []
        from alembic import command
        from alembic.script import ScriptDirectory

        config = alembic_config()
        script = ScriptDirectory.from_config(config)
        if current is not None and current not in {each.revision for each in script.walk_revisions()}:
            raise ConfigError(
                [Fault("database", f"a schema up to revision {REVISION}", f"{current}, of a newer release")]
            )
        missing = [each.revision for each in script.iterate_revisions("head", current or "base")]
        config.attributes["connection"] = connection
        for name in views.VIEW_SQL:
            connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
        command.upgrade(config, "head")
        for name, select in views.VIEW_SQL.items():
            connection.exec_driver_sql(f"CREATE VIEW {name} AS {select}")
        return missing[::-1]


def read_revision(connection: sa.Connection) -> str | None:
    """Return a database's revision, or None for an empty database.

    Raises ConfigError for a database of another program.
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
    """Return every revision that this release can migrate from."""
    from alembic.script import ScriptDirectory

    return frozenset(each.revision for each in ScriptDirectory.from_config(alembic_config()).walk_revisions())


def alembic_config() -> Config:
    """Return an Alembic configuration that finds the revisions."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config
