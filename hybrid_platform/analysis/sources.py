"""Lookup of the sessions to compare: by id in the database, by data directory, or by evidence directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.ids import SESSION_ID_PATTERN
from hybrid_platform.report.comparison import ComparedSession, read_compared_session
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import default_url, resolve_database_url
from hybrid_platform.storage.queries import find_sessions


def read_compared_sessions(settings: SessionSettings, named: Sequence[str]) -> list[ComparedSession]:
    """Return each named session, measured and labelled A, B, C …; raise ConfigError for an unknown session."""
    compared = []
    for place, name in enumerate(named):
        url, session_id = _locate(settings, name)
        engine = open_engine(url, role="read")
        try:
            label = ascii_uppercase[place] if place < len(ascii_uppercase) else f"S{place + 1}"
            compared.append(read_compared_session(engine, session_id or _find_last_session(url), label))
        finally:
            engine.dispose()
    return compared


def _locate(settings: SessionSettings, name: str) -> tuple[str, str | None]:
    """Return the URL of the database and the id of the session; None stands for the last session."""
    path = Path(name)
    if not path.is_dir():
        return resolve_database_url(settings), name
    if SESSION_ID_PATTERN.fullmatch(path.name) and path.parent.name == "evidence":
        return default_url(path.parent.parent), path.name
    if not (path / "bot.db").is_file():
        raise ConfigError([Fault("session", "a data directory with a bot.db, or an evidence directory in one", name)])
    return default_url(path), None


def _find_last_session(url: str) -> str:
    engine = open_engine(url, role="read")
    try:
        found = find_sessions(engine, limit=1)
    finally:
        engine.dispose()
    if not found:
        raise ConfigError([Fault("session", "a database with a session", "one without")])
    return found[0].session_id
