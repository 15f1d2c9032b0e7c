"""Database URLs: which database a session's settings mean, and how a URL may be shown.

in: settings, paths, URLs · out: URLs and checked paths. SQLite's URLs are read here, without SQLAlchemy,
so that a healthcheck need not load it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.storage.files import SETTING, checked_path

if TYPE_CHECKING:
    from hybrid_platform.settings.session import SessionSettings


def url_of(settings: SessionSettings) -> str:
    """Return the URL of a session's database."""
    return settings.database_url or default_url(settings.data_dir)


def default_url(data_dir: str | Path) -> str:
    """Return the URL of the database that ``database_url: null`` means."""
    return sqlite_url(Path(data_dir) / "bot.db")


def sqlite_url(path: str | Path) -> str:
    """Return the URL of a database file; relative paths count from here."""
    # Not resolve(): a link on the way is to be refused, not followed.
    return f"sqlite:///{quote(os.fsencode(os.path.abspath(path)))}"  # noqa: PTH100


def is_sqlite(url: str) -> bool:
    """Return whether a URL names a SQLite database, whatever the driver."""
    return url.partition("://")[0].partition("+")[0] == "sqlite"


def path_of(url: str) -> Path:
    """Return the checked path of a SQLite URL's file.

    Raises ConfigError where the URL names another database, or a path that may not be opened.
    """
    scheme, _, rest = url.partition("://")
    if not is_sqlite(url):
        raise ConfigError([Fault(SETTING, "a SQLite URL, sqlite:///path", f"{scheme[:40]}://…")])
    host, _, database = rest.partition("/")
    if host or "?" in database:
        raise ConfigError([Fault(SETTING, "sqlite:///path without host and options", "one with them")])
    try:
        path = os.fsdecode(unquote_to_bytes(database))
    except UnicodeError:
        raise ConfigError([Fault(SETTING, "a path in UTF-8", repr(database[:80]))]) from None
    return checked_path(path)


def shown_url(url: str) -> str:
    """Return a URL as messages and evidence may show it: no user, no password, no options."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return "…"
    authority, slash, database = rest.partition("?")[0].partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{database}"
