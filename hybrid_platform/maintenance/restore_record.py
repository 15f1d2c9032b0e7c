"""The record that a restore leaves of itself, and what of a later loss it explains (L4).

in: what was put in place of a database, and what that left out · out: `RestoreEvidence` in ``evidence/checks/``.
Only the last restore of a database counts, and only while what it put in place is still there.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from hybrid_platform.domain.errors import EvidenceError
from hybrid_platform.evidence.files import CHECKS, check_evidence_name, read_json, write_json
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.location import default_url
from hybrid_platform.storage.queries import count_session_rows, find_sessions

END = "-restore.json"
MOST_SESSIONS = 1_000_000


class RestoreEvidence(msgspec.Struct, frozen=True):
    """What one restore put in place."""

    kind: str
    started_at: str
    ended_at: str
    database_url: str | None
    """As the settings say it; None: the data directory's own."""
    backup: str
    sha256: str
    replaced: str | None
    """Where the database that was replaced is kept; None where there was none."""
    sessions: dict[str, int]
    """Rows of each session in the backup, archived ticks among them."""
    left_out: tuple[str, ...]
    """Sessions that had a row in the database before, and have none in the backup."""

    def why_gone(self, session_id: str) -> str | None:
        """Return in words how this restore left a session out, or None where it did not."""
        return f"the backup {self._told} does not hold it" if session_id in self.left_out else None

    def why_fewer(self, session_id: str, kept: int) -> str | None:
        """Return in words how this restore left a session so many rows, or None where it left it more."""
        held = self.sessions.get(session_id)
        return None if held is None or kept < held else f"the backup {self._told} held {held:,} of its rows"

    @property
    def _told(self) -> str:
        return f"{self.backup} (SHA-256 {self.sha256[:16]}), which was restored at {self.ended_at},"


class _Place(msgspec.Struct):
    database_url: str | None


def portable_database_url(settings: SessionSettings) -> str | None:
    """Return which database is meant, in words that stay true when a data directory moves with its database."""
    return None if settings.database_url == default_url(settings.data_dir) else settings.database_url


def write_restore(data_dir: DataDir, name: str, record: RestoreEvidence) -> None:
    """Leave the record; ``name`` sorts by time."""
    write_json(data_dir, check_evidence_name(name, "restore"), record)


def last_restore(data_dir: DataDir, place: str | None) -> RestoreEvidence | None:
    """Return the last restore of a database; None where there is none, or its record cannot be read."""
    folder = data_dir.resolve(CHECKS)
    for path in sorted(folder.glob(f"*{END}"), reverse=True):
        try:
            if read_json(data_dir, f"{CHECKS}/{path.name}", _Place).database_url == place:
                return read_json(data_dir, f"{CHECKS}/{path.name}", RestoreEvidence)
        except EvidenceError:
            return None  # it may have been of this database: what came before explains nothing
    return None


def find_lost_since(record: RestoreEvidence, engine: sa.Engine) -> list[str]:
    """Return what the restore put in place and is no longer there, in words."""
    there = {session.session_id: session.session_no for session in find_sessions(engine, limit=MOST_SESSIONS)}
    lost = []
    for session_id, rows in record.sessions.items():
        if session_id not in there:
            lost.append(f"session {session_id}, in the backup that was restored: expected its row there, got none")
            continue
        with transaction(engine, "counting rows") as connection:
            kept = sum(count_session_rows(connection, there[session_id]).values())
        if kept < rows:
            lost.append(
                f"session {session_id}, in the backup that was restored: expected the {rows:,} rows that it held, "
                f"got {kept:,}"
            )
    return lost
