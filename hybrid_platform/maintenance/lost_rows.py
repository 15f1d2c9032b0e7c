"""Detection of rows that earlier sessions had reported as committed and that the database has lost since (L4).

in: logs and evidence outside the database, and the record of the last restore · out: messages about the losses, those
explained by the restore apart. SQLite itself opens a database without its write-ahead log silently, and creates a
missing one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from hybrid_platform.domain.errors import ConfigError, EvidenceError, PlatformError
from hybrid_platform.domain.ids import SESSION_ID_PATTERN
from hybrid_platform.evidence.files import read_json
from hybrid_platform.evidence.records import PREFLIGHT, SESSION, evidence_name
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.log.events import LogEvent, find_event, parse_line
from hybrid_platform.log.session_log import log_name
from hybrid_platform.maintenance.restore_record import find_lost_since, portable_database_url, read_last_restore
from hybrid_platform.security.paths import DataDir
from hybrid_platform.storage.location import default_url
from hybrid_platform.storage.queries import find_session
from hybrid_platform.storage.session_records import CrashedSession

TAIL_BYTES = 1 << 20
"""Bytes at the end of a log that are searched for its last heartbeat."""
MAX_SESSIONS_CHECKED = 20
"""Evidence directories searched for the last session that used this database."""
_COUNTING_EVENTS = frozenset({LogEvent.HEARTBEAT, LogEvent.FINAL_METRICS})


class _SessionPart(msgspec.Struct):
    """Part of the session evidence."""

    began: bool = True


class _DatabaseSettings(msgspec.Struct):
    """Part of the settings in the preflight evidence."""

    database_url: str | None
    data_dir: str

    @property
    def portable_url(self) -> str | None:
        """Return the URL as in `portable_database_url`."""
        return None if self.database_url == default_url(self.data_dir) else self.database_url


class _PreflightPart(msgspec.Struct):
    """Part of the preflight evidence."""

    started_at: str
    settings: _DatabaseSettings


class LostRows(NamedTuple):
    """Messages about lost rows that earlier sessions had reported as committed."""

    unexplained: tuple[str, ...]
    explained: tuple[str, ...]
    """Losses explained by a restore, which each message names."""


def read_last_reported_rows(data_dir: DataDir, session_id: str) -> int | None:
    """Return how many rows a session's log last reported as committed, or None if it does not."""
    try:
        descriptor = data_dir.open(log_name(session_id), os.O_RDONLY)
    except (FileNotFoundError, PlatformError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(0, os.fstat(descriptor).st_size - TAIL_BYTES))
        lines = file.read().splitlines()
    for line in reversed(lines):
        record = parse_line(line)  # None if the line was cut off when the process ended
        if record is not None and find_event(record) in _COUNTING_EVENTS:
            try:
                return int(record["persist_count"])
            except (ValueError, KeyError, TypeError):
                continue
    return None


def find_lost_rows(context: RunContext, engine: sa.Engine, crashed: Sequence[CrashedSession]) -> LostRows:
    """Return the rows lost from earlier sessions: those just marked as crashed, and the last one before this session.

    Each loss is reported once, by the next session, which then fails, so that an operator can restore a backup. Rows
    that a restore left out on purpose do not fail a session while everything that it put in place still exists.
    """
    url = portable_database_url(context.settings)
    gone = _find_missing_session(context, url, engine)
    fewer = []
    for session in crashed:
        reported, kept = read_last_reported_rows(context.data_dir, session.session_id), sum(session.kept.values())
        if reported is not None and kept < reported:
            fewer.append((session.session_id, reported, kept))
    restore = read_last_restore(context.data_dir, url) if gone or fewer else None
    unexplained = [] if restore is None else find_lost_since(restore, engine)
    explained: list[str] = []
    for session_id, reported, kept in fewer:
        loss = (
            f"session {session_id}, which crashed: expected the {reported} rows that it had reported as committed, "
            f"got {kept}"
        )
        _classify(loss, restore.explain_fewer(session_id, kept) if restore else None, unexplained, explained)
    if gone is not None:
        loss = f"session {gone}, which used this database: expected its row there, got none"
        _classify(loss, restore.explain_missing(gone) if restore else None, unexplained, explained)
    return LostRows(tuple(unexplained), tuple(explained))


def _classify(loss: str, explanation: str | None, unexplained: list[str], explained: list[str]) -> None:
    if explanation is None:
        unexplained.append(loss)
    else:
        explained.append(f"{loss}: {explanation}")


def _find_missing_session(context: RunContext, url: str | None, engine: sa.Engine) -> str | None:
    """Return the last earlier session that used this database, if its row is missing."""
    last = next(find_recorded_sessions(context.data_dir, url, exclude=context.session_id), None)
    if last is not None:
        try:
            find_session(engine, last)
        except ConfigError:
            return last
    return None


def find_recorded_sessions(
    data_dir: DataDir, portable_url: str | None, *, exclude: str = "", limit: int | None = MAX_SESSIONS_CHECKED
) -> Iterator[str]:
    """Yield the sessions of a data directory that had a row in a database, latest first.

    Searches at most ``limit`` evidence directories, without that of the session ``exclude``.
    """
    folder = data_dir.resolve("evidence")
    if not folder.is_dir():
        return
    names = sorted((path.name for path in folder.iterdir() if SESSION_ID_PATTERN.fullmatch(path.name)), reverse=True)
    used: list[tuple[str, str, str]] = []
    for name in [name for name in names if name != exclude][:limit]:
        second = name.partition("-")[0]
        if used and used[0][0] != second:
            yield from _latest_first(used)
            used = []
        try:
            preflight = read_json(data_dir, evidence_name(name, PREFLIGHT), _PreflightPart)
            if preflight.settings.portable_url == portable_url and _had_row(data_dir, name):
                used.append((second, preflight.started_at, name))
        except (EvidenceError, FileNotFoundError):
            continue  # it ended before the preflight, or its evidence is damaged, which `verify` reports
    yield from _latest_first(used)


def _latest_first(used: list[tuple[str, str, str]]) -> Iterator[str]:
    """Return sessions of the same second, whose ids have no order, by their start times."""
    return (name for _, _, name in sorted(used, reverse=True))


def _had_row(data_dir: DataDir, session_id: str) -> bool:
    name = evidence_name(session_id, SESSION)
    if data_dir.resolve(name).exists():
        return read_json(data_dir, name, _SessionPart).began
    return read_last_reported_rows(data_dir, session_id) is not None
