"""Retention: old ticks to the archive, the database compacted, old logs removed, and a record of it.

in: settings whose ``retention`` says how long what stays · out: `RetentionEvidence` in ``evidence/checks/``.
Each session is moved under the lease of its own, so that a session that waits to start gets its turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import sqlalchemy as sa

from hybrid_platform.domain.clocks import NS_PER_S, Clock, iso_utc
from hybrid_platform.domain.errors import ConfigError, Fault, StorageError
from hybrid_platform.domain.ids import make_session_id
from hybrid_platform.domain.text import plural
from hybrid_platform.evidence.files import CHECKS, check_evidence_name, write_json
from hybrid_platform.maintenance.lease import LeaseHeartbeat, acquire_maintenance_lease, lease_path
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.archiver import (
    ArchivedSession,
    CompactionResult,
    archive_ticks,
    compact_database,
    find_archivable_sessions,
)
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import resolve_database_url, sqlite_path
from hybrid_platform.storage.migrate import migrate
from hybrid_platform.storage.probe import probe_database
from hybrid_platform.storage.queries import find_sessions
from hybrid_platform.storage.session_records import SessionState

ARCHIVE = "archive/ticks"
DAY_NS = 86_400 * NS_PER_S
TURN_SECONDS = 1.0
"""Between two sessions' ticks: whoever waits for the lease looks more often."""


class RemovedLog(msgspec.Struct, frozen=True):
    """A log that was cleared away."""

    name: str
    bytes: int


class NotMoved(msgspec.Struct, frozen=True):
    """A session whose ticks stay in the database, because of an error."""

    session_id: str
    why: str


class RetentionEvidence(msgspec.Struct, frozen=True):
    """What one retention moved and removed; in a rehearsal, what it would have."""

    kind: str
    is_rehearsal: bool
    started_at: str
    ended_at: str
    archive: str
    moved: tuple[ArchivedSession, ...]
    compacted: CompactionResult | None
    """None where no tick was moved."""
    logs: tuple[RemovedLog, ...]
    not_moved: tuple[NotMoved, ...] = ()

    @property
    def figures(self) -> dict[str, int]:
        """Return the figures worth plotting."""
        return {
            "sessions": len(self.moved),
            "ticks": sum(each.ticks for each in self.moved),
            "files": sum(each.files for each in self.moved),
            "archived_bytes": sum(each.bytes for each in self.moved),
            "freed_bytes": 0 if self.compacted is None else self.compacted.bytes,
            "logs": len(self.logs),
            "logs_bytes": sum(log.bytes for log in self.logs),
            "not_moved": len(self.not_moved),
        }

    def require_whole(self) -> None:
        """Raise StorageError naming every session that could not be moved."""
        if self.not_moved:
            told = "\n".join(f"{each.session_id} was not moved: {each.why}" for each in self.not_moved)
            raise StorageError(told)


def apply_retention(
    settings: SessionSettings,
    clock: Clock,
    *,
    is_rehearsal: bool = False,
    tell: Callable[[str], None] = lambda line: None,
    stop: threading.Event | None = None,
) -> RetentionEvidence:
    """Clear away what is older than ``settings.retention`` allows; a rehearsal only says what it would be.

    A session that cannot be moved stays where it is and keeps none of the others: see ``require_whole`` of what is
    returned. Raises LeaseHeld where a session runs longer than ``wait_seconds``, ConfigError where there is no database
    of this platform.
    """
    data_dir, url = DataDir(settings.data_dir), resolve_database_url(settings)
    database = sqlite_path(url)
    report = probe_database(url)
    if not report.exists or not report.readable or report.schema is None:
        raise ConfigError([Fault("database", f"a database of this platform at {database}", report.detail)])
    started = clock.wall_ns()
    moved: tuple[ArchivedSession, ...] = ()
    not_moved: tuple[NotMoved, ...] = ()
    compacted: CompactionResult | None = None
    if settings.retention.ticks_days is not None:
        before = started - settings.retention.ticks_days * DAY_NS
        if is_rehearsal:
            with _engine(settings, "read") as engine:
                moved = tuple(
                    ArchivedSession(each.session_id, each.ticks, 0, 0)
                    for each in find_archivable_sessions(engine, before)
                )
        else:
            moved, not_moved, compacted = _move(settings, data_dir, before, clock, tell, stop or threading.Event())
    logs = tuple(_old_logs(settings, data_dir, started, remove=not is_rehearsal))
    evidence = RetentionEvidence(
        "retention",
        is_rehearsal,
        iso_utc(started),
        iso_utc(clock.wall_ns()),
        str(data_dir.root / ARCHIVE),
        moved,
        compacted,
        logs,
        not_moved,
    )
    if not is_rehearsal:
        name = make_session_id(started, "retention")
        write_json(data_dir, check_evidence_name(name, "retention"), evidence)
    return evidence


def _move(
    settings: SessionSettings,
    data_dir: DataDir,
    before: int,
    clock: Clock,
    tell: Callable[[str], None],
    stop: threading.Event,
) -> tuple[tuple[ArchivedSession, ...], tuple[NotMoved, ...], CompactionResult | None]:
    url = resolve_database_url(settings)
    path = lease_path(url)
    # Beside the database the archive may move with it; elsewhere it stays where it is.
    stored = ARCHIVE if sqlite_path(url).parent == data_dir.root else str(data_dir.root / ARCHIVE)
    moved: list[ArchivedSession] = []
    not_moved: list[NotMoved] = []
    compacted: CompactionResult | None = None
    last = 0

    def waiting(holder: str) -> None:
        tell(f"waiting up to {settings.retention.wait_seconds:g} s for {holder} to end")

    while not stop.is_set():
        with acquire_maintenance_lease(path, "retention", settings.retention.wait_seconds, waiting, stop) as lease:
            beat = LeaseHeartbeat(lease)
            with _engine(settings, "write") as engine:
                migrate(engine)
                # One, and whether there is another: whatever became of those before it, they are behind.
                found = find_archivable_sessions(engine, before, after=last, limit=2)
                for session in found[:1]:
                    last = session.session_no
                    try:
                        done = archive_ticks(
                            engine, session, data_dir, ARCHIVE, folder_as_stored=stored, at_ns=clock.wall_ns(),
                            on_step=beat,
                        )  # fmt: skip
                    except StorageError as error:
                        not_moved.append(NotMoved(session.session_id, str(error)))
                        tell(f"{session.session_id} was not moved: {error}")
                    else:
                        moved.append(done)
                        into = f"{plural(done.files, 'file')}, {plural(done.bytes, 'byte')}"
                        tell(f"{done.session_id}: {plural(done.ticks, 'tick')} in {into}")
                # Also where a kill came between moving and this.
                freed = compact_database(engine, beat)
                compacted = freed if compacted is None else _added(compacted, freed)
        if len(found) <= 1:
            break
        stop.wait(TURN_SECONDS)
    return tuple(moved), tuple(not_moved), compacted


def _added(first: CompactionResult, second: CompactionResult) -> CompactionResult:
    return CompactionResult(first.pages + second.pages, first.bytes + second.bytes, second.free_pages)


def _old_logs(settings: SessionSettings, data_dir: DataDir, now: int, *, remove: bool) -> Iterator[RemovedLog]:
    """Yield, and remove, logs, and evidence of checks that ran alone, that nobody has written to for so long.

    Never a running session's. A schedule that checks every quarter of an hour leaves 35,000 files a year.
    """
    days = settings.retention.logs_days
    if days is None:
        return
    with _engine(settings, "read") as engine:
        running = {session.session_id for session in find_sessions(engine, state=SessionState.RUNNING)}
    for folder, pattern in (("logs", "*.jsonl"), (CHECKS, "*.json")):
        for path in sorted((data_dir.root / folder).glob(pattern)):
            status = path.lstat()
            if path.stem in running or status.st_mtime_ns >= now - days * DAY_NS:
                continue
            plain: Path = data_dir.resolve(f"{folder}/{path.name}")
            if remove:
                plain.unlink(missing_ok=True)
            yield RemovedLog(f"{folder}/{path.name}", status.st_size)


@contextmanager
def _engine(settings: SessionSettings, role: str) -> Iterator[sa.Engine]:
    engine = open_engine(
        resolve_database_url(settings),
        role="write" if role == "write" else "read",
        busy_timeout_ms=settings.storage.busy_timeout_ms,
    )
    try:
        yield engine
    finally:
        engine.dispose()
