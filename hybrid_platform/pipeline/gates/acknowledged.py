"""What earlier sessions had reported as committed, held against the database: rows lost since then are named (L4).

in: the log and evidence that they left outside the database · out: what is missing, in words. SQLite opens a
database whose write-ahead log was deleted or damaged without a word, and makes a new one where there is none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence

import msgspec
import sqlalchemy as sa

from hybrid_platform.domain.errors import ConfigError, EvidenceError, PlatformError
from hybrid_platform.domain.ids import SESSION_ID_PATTERN
from hybrid_platform.evidence.files import read_json
from hybrid_platform.evidence.records import PREFLIGHT, SESSION, evidence_name
from hybrid_platform.pipeline.context import RunContext
from hybrid_platform.pipeline.gates.session_log import log_name
from hybrid_platform.safety.paths import DataDir
from hybrid_platform.storage.queries import find_session
from hybrid_platform.storage.records import CrashedSession

TAIL_BYTES = 1 << 20
"""So much of the end of a log is looked through for its last heartbeat."""
LOOK_BACK = 20
"""So many directories of evidence are looked at for the last session that used this database."""
_COUNTED = (b'"message":"HEARTBEAT (G4)"', b'"message":"FINAL METRICS"')


class _Began(msgspec.Struct):
    began: bool = True


class _Place(msgspec.Struct):
    database_url: str | None


class _Asked(msgspec.Struct):
    settings: _Place


def acknowledged_rows(data_dir: DataDir, session_id: str) -> int | None:
    """Return how many rows a session's log last reported as committed; None where it does not say."""
    try:
        descriptor = data_dir.open(log_name(session_id), os.O_RDONLY)
    except (FileNotFoundError, PlatformError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(0, os.fstat(descriptor).st_size - TAIL_BYTES))
        lines = file.read().splitlines()
    for line in reversed(lines):
        if any(message in line for message in _COUNTED):
            try:
                return int(json.loads(line)["persist_count"])
            except (ValueError, KeyError, TypeError):
                continue  # cut off in the middle, by what ended the process
    return None


def missing_rows(context: RunContext, engine: sa.Engine, crashed: Sequence[CrashedSession]) -> tuple[str, ...]:
    """Return what the database lost of earlier sessions: of those just found crashed, and of the last before this one.

    Each is told once, by the next session, which then fails: whoever reads it restores a backup, or knows why.
    """
    missing = []
    for session in crashed:
        reported, kept = acknowledged_rows(context.data_dir, session.session_id), sum(session.kept.values())
        if reported is not None and kept < reported:
            missing.append(
                f"session {session.session_id}, which crashed: expected the {reported} rows that it had reported as "
                f"committed, was {kept}"
            )
    last = next(_earlier(context), None)
    if last is not None:
        try:
            find_session(engine, last)
        except ConfigError:
            missing.append(f"session {last}, which used this database: expected its row there, was none")
    return tuple(missing)


def _earlier(context: RunContext) -> Iterator[str]:
    """Yield the sessions of this data directory that had a row in this database, the last first."""
    folder = context.data_dir.resolve("evidence")
    names = sorted((path.name for path in folder.iterdir() if SESSION_ID_PATTERN.fullmatch(path.name)), reverse=True)
    here = _Place(context.settings.database_url)  # not the path: a data directory may have moved with its database
    for name in [name for name in names if name != context.session_id][:LOOK_BACK]:
        try:
            asked = read_json(context.data_dir, evidence_name(name, PREFLIGHT), _Asked)
            if asked.settings == here and _had_row(context.data_dir, name):
                yield name
        except (EvidenceError, FileNotFoundError):
            continue  # it did not get so far, or its evidence is damaged: `verify` is who tells of that


def _had_row(data_dir: DataDir, session_id: str) -> bool:
    name = evidence_name(session_id, SESSION)
    if data_dir.resolve(name).exists():
        return read_json(data_dir, name, _Began).began
    return acknowledged_rows(data_dir, session_id) is not None
