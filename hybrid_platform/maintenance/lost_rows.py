"""What earlier sessions had reported as committed, held against the database: rows lost since then are named (L4).

in: the log and evidence that they left outside the database, and the record of a restore · out: what is missing, in
words, and what of it a restore explains. SQLite opens a database whose write-ahead log was deleted or damaged without
a word, and makes a new one where there is none.
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
from hybrid_platform.maintenance.restore_record import find_lost_since, last_restore, portable_database_url
from hybrid_platform.security.paths import DataDir
from hybrid_platform.storage.location import default_url
from hybrid_platform.storage.queries import find_session
from hybrid_platform.storage.session_records import CrashedSession

TAIL_BYTES = 1 << 20
"""So much of the end of a log is looked through for its last heartbeat."""
LOOK_BACK = 20
"""So many directories of evidence are looked at for the last session that used this database."""
_COUNTING_EVENTS = frozenset({LogEvent.HEARTBEAT, LogEvent.FINAL_METRICS})


class _Began(msgspec.Struct):
    began: bool = True


class _Place(msgspec.Struct):
    database_url: str | None
    data_dir: str

    @property
    def place(self) -> str | None:
        return None if self.database_url == default_url(self.data_dir) else self.database_url


class _Asked(msgspec.Struct):
    started_at: str
    settings: _Place


class LostRows(NamedTuple):
    """Rows that earlier sessions had reported as committed and that are gone, in words."""

    unexplained: tuple[str, ...]
    explained: tuple[str, ...]
    """By a restore, which each of them names."""


def last_reported_rows(data_dir: DataDir, session_id: str) -> int | None:
    """Return how many rows a session's log last reported as committed; None where it does not say."""
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
    """Return what the database lost of earlier sessions: of those just found crashed, and of the last before this one.

    Each is told once, by the next session, which then fails: whoever reads it restores a backup, or knows why. What
    a restore left out on purpose fails nobody, as long as all that it put in place is there.
    """
    place = portable_database_url(context.settings)
    gone = _absent(context, place, engine)
    fewer = []
    for session in crashed:
        reported, kept = last_reported_rows(context.data_dir, session.session_id), sum(session.kept.values())
        if reported is not None and kept < reported:
            fewer.append((session.session_id, reported, kept))
    restore = last_restore(context.data_dir, place) if gone or fewer else None
    unexplained = [] if restore is None else find_lost_since(restore, engine)
    explained: list[str] = []
    for session_id, reported, kept in fewer:
        loss = (
            f"session {session_id}, which crashed: expected the {reported} rows that it had reported as committed, "
            f"got {kept}"
        )
        why = None if restore is None else restore.why_fewer(session_id, kept)
        (unexplained if why is None else explained).append(loss if why is None else f"{loss}: {why}")
    if gone is not None:
        loss = f"session {gone}, which used this database: expected its row there, got none"
        why = None if restore is None else restore.why_gone(gone)
        (unexplained if why is None else explained).append(loss if why is None else f"{loss}: {why}")
    return LostRows(tuple(unexplained), tuple(explained))


def _absent(context: RunContext, place: str | None, engine: sa.Engine) -> str | None:
    """Return the last session that used this database before, if its row is not there."""
    last = next(recorded_sessions(context.data_dir, place, context.session_id), None)
    if last is not None:
        try:
            find_session(engine, last)
        except ConfigError:
            return last
    return None


def recorded_sessions(
    data_dir: DataDir, place: str | None, but: str = "", most: int | None = LOOK_BACK
) -> Iterator[str]:
    """Yield the sessions of a data directory that had a row in a database, the last first.

    ``most``: so many directories are looked at; ``but``: a session that is not meant.
    """
    folder = data_dir.resolve("evidence")
    if not folder.is_dir():
        return
    names = sorted((path.name for path in folder.iterdir() if SESSION_ID_PATTERN.fullmatch(path.name)), reverse=True)
    used: list[tuple[str, str, str]] = []
    for name in [name for name in names if name != but][:most]:
        second = name.partition("-")[0]
        if used and used[0][0] != second:
            yield from _latest_first(used)
            used = []
        try:
            asked = read_json(data_dir, evidence_name(name, PREFLIGHT), _Asked)
            if asked.settings.place == place and _had_row(data_dir, name):
                used.append((second, asked.started_at, name))
        except (EvidenceError, FileNotFoundError):
            continue  # it did not get so far, or its evidence is damaged: `verify` is who tells of that
    yield from _latest_first(used)


def _latest_first(used: list[tuple[str, str, str]]) -> Iterator[str]:
    """Yield sessions of one second, whose ids do not say which came first, by when they started."""
    return (name for _, _, name in sorted(used, reverse=True))


def _had_row(data_dir: DataDir, session_id: str) -> bool:
    name = evidence_name(session_id, SESSION)
    if data_dir.resolve(name).exists():
        return read_json(data_dir, name, _Began).began
    return last_reported_rows(data_dir, session_id) is not None
