"""Options that several commands share, and the two things read by them: the settings and the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import sqlalchemy as sa

    from hybrid_platform.settings.session import SessionSettings

config_option = click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="YAML settings; a Dagster run config is read too."
)
set_option = click.option(
    "--set", "assignments", multiple=True, metavar="KEY.PATH=VALUE", help="Override one setting; may be repeated."
)
db_option = click.option("--db", metavar="PATH", help="SQLite file (default: bot.db in the data directory).")
data_dir_option = click.option(
    "--data-dir", metavar="DIR", help="Everything is read and written below it (default: data)."
)


def read_settings(config_file: Path | None, assignments: tuple[str, ...], **flags: Any) -> SessionSettings:
    """Return the settings: defaults, environment, file, flags and --set, each overriding the ones before it."""
    from hybrid_platform.settings.loading import load_settings, merge, parse_assignment, read_yaml
    from hybrid_platform.storage.location import check_database_path, sqlite_url

    layers = [read_yaml(config_file)] if config_file else []
    database = flags.pop("db", None)
    stated = {name: value for name, value in flags.items() if value is not None}
    if database is not None:
        check_database_path(database)  # before it becomes a URL, where `:memory:` and `file:…` would be ordinary names
        stated["database_url"] = sqlite_url(database)
    layers.append(stated)
    layers.append(reduce(merge, map(parse_assignment, assignments), {}))
    return load_settings(*layers)


@contextmanager
def open_reader(settings: SessionSettings) -> Iterator[sa.Engine]:
    """Yield a read-only engine on the settings' database."""
    from hybrid_platform.storage.engine import open_engine
    from hybrid_platform.storage.location import resolve_database_url

    engine = open_engine(resolve_database_url(settings), role="read")
    try:
        yield engine
    finally:
        engine.dispose()
