"""Evidence of a restore, and the losses that it explains later (L4).

in: the content of the restored backup and the sessions that it lacks · out: `RestoreEvidence` in
``evidence/checks/``. Only the last restore of a database counts, and only while everything that it put in place still
exists.
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

KIND = "restore"
MAX_SESSIONS = 1_000_000


class RestoreEvidence(msgspec.Struct, frozen=True):
    """Record of one restore."""

    kind: str
    started_at: str
    ended_at: str
    database_url: str | None
    """URL in the settings; None for the default database of the data directory."""
    backup: str
    sha256: str
    replaced: str | None
    """Path of the replaced database; None if there was none."""
    sessions: dict[str, int]
    """Rows of each session in the backup, with archived ticks."""
    left_out: tuple[str, ...]
    """Sessions with a row in the replaced database and none in the backup."""

    def explain_missing(self, session_id: str) -> str | None:
        """Return the message that this restore left a session out, or None if it did not."""
        return f"the backup {self._description} does not hold it" if session_id in self.left_out else None

    def explain_fewer(self, session_id: str, kept: int) -> str | None:
        """Return the message that the backup had at most ``kept`` rows of a session, or None if it had more."""
        held = self.sessions.get(session_id)
        return None if held is None or kept < held else f"the backup {self._description} held {held:,} of its rows"

    @property
    def _description(self) -> str:
        return f"{self.backup} (SHA-256 {self.sha256[:16]}), which was restored at {self.ended_at},"


class _RestorePart(msgspec.Struct):
    """Part of the record that decides whether it concerns a database."""

    database_url: str | None


def portable_database_url(settings: SessionSettings) -> str | None:
    """Return the URL of a session's database, or None for the data directory's own, which may move with it."""
    return None if settings.database_url == default_url(settings.data_dir) else settings.database_url


def write_restore(data_dir: DataDir, name: str, record: RestoreEvidence) -> None:
    """Write the record; ``name`` begins with the time of the restore."""
    write_json(data_dir, check_evidence_name(name, KIND), record)


def read_last_restore(data_dir: DataDir, portable_url: str | None) -> RestoreEvidence | None:
    """Return the last restore of a database, or None without one or with an unreadable record."""
    folder = data_dir.resolve(CHECKS)
    for path in sorted(folder.glob(f"*-{KIND}.json"), reverse=True):
        try:
            if read_json(data_dir, f"{CHECKS}/{path.name}", _RestorePart).database_url == portable_url:
                return read_json(data_dir, f"{CHECKS}/{path.name}", RestoreEvidence)
        except EvidenceError:
            return None  # it may concern this database, so earlier records explain nothing
    return None


def find_lost_since(record: RestoreEvidence, engine: sa.Engine) -> list[str]:
    """Return messages about restored rows that no longer exist."""
    present = {session.session_id: session.session_no for session in find_sessions(engine, limit=MAX_SESSIONS)}
    lost = []
    for session_id, rows in record.sessions.items():
        if session_id not in present:
            lost.append(f"session {session_id}, in the backup that was restored: expected its row there, got none")
            continue
        with transaction(engine, "counting rows") as connection:
            kept = sum(count_session_rows(connection, present[session_id]).values())
        if kept < rows:
            lost.append(
                f"session {session_id}, in the backup that was restored: expected the {rows:,} rows that it held, "
                f"got {kept:,}"
            )
    return lost
