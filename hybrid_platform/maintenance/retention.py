"""Retention: move old ticks to the archive, compact the database, delete old logs, and record it.

in: settings whose ``retention`` gives the ages · out: `RetentionEvidence` in ``evidence/checks/``. Each session is
moved under a separate lease, so that a session waiting to start can run in between. The SQL is in
`storage.archiver`.
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
from hybrid_platform.storage.connection import Role
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import resolve_database_url, sqlite_path
from hybrid_platform.storage.migrate import migrate
from hybrid_platform.storage.probe import probe_database
from hybrid_platform.storage.queries import find_sessions
from hybrid_platform.storage.session_records import SessionState

ARCHIVE = "archive/ticks"
DAY_NS = 86_400 * NS_PER_S
TURN_SECONDS = 1.0
"""Pause between two sessions' ticks, longer than the retry interval of a process that waits for the lease."""


class RemovedLog(msgspec.Struct, frozen=True):
    """A deleted log or check evidence file."""

    name: str
    bytes: int


class FailedArchiving(msgspec.Struct, frozen=True):
    """A session whose ticks stay in the database because of an error."""

    session_id: str
    why: str


class RetentionEvidence(msgspec.Struct, frozen=True):
    """Record of one retention; a rehearsal records what it would have done."""

    kind: str
    is_rehearsal: bool
    started_at: str
    ended_at: str
    archive: str
    moved: tuple[ArchivedSession, ...]
    compacted: CompactionResult | None
    """None if no tick was moved."""
    logs: tuple[RemovedLog, ...]
    not_moved: tuple[FailedArchiving, ...] = ()

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

    def raise_failures(self) -> None:
        """Raise StorageError with every session that could not be moved."""
        if self.not_moved:
            raise StorageError("\n".join(f"{each.session_id} was not moved: {each.why}" for each in self.not_moved))


def apply_retention(
    settings: SessionSettings,
    clock: Clock,
    *,
    is_rehearsal: bool = False,
    on_progress: Callable[[str], None] = lambda line: None,
    stop: threading.Event | None = None,
) -> RetentionEvidence:
    """Archive and delete data older than ``settings.retention`` allows; a rehearsal only returns what it would do.

    A session that cannot be moved does not stop the others: see `RetentionEvidence.raise_failures`. ``on_progress``
    receives a line for each step. Raises LeaseHeld if a session runs longer than ``wait_seconds``, ConfigError
    without a database of this platform.
    """
    data_dir, url = DataDir(settings.data_dir), resolve_database_url(settings)
    database = sqlite_path(url)
    report = probe_database(url)
    if not report.exists or not report.readable or report.schema is None:
        raise ConfigError([Fault("database", f"a database of this platform at {database}", report.detail)])
    started = clock.wall_ns()
    moved: tuple[ArchivedSession, ...] = ()
    not_moved: tuple[FailedArchiving, ...] = ()
    compacted: CompactionResult | None = None
    if settings.retention.ticks_days is not None:
        before = started - settings.retention.ticks_days * DAY_NS
        if is_rehearsal:
            with _open_engine(settings, "read") as engine:
                moved = tuple(
                    ArchivedSession(each.session_id, each.ticks, 0, 0)
                    for each in find_archivable_sessions(engine, before)
                )
        else:
            moved, not_moved, compacted = _archive_old_sessions(
                settings, data_dir, before, clock, on_progress, stop or threading.Event()
            )
    logs = tuple(_delete_old_logs(settings, data_dir, started, remove=not is_rehearsal))
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


def _archive_old_sessions(
    settings: SessionSettings,
    data_dir: DataDir,
    before: int,
    clock: Clock,
    on_progress: Callable[[str], None],
    stop: threading.Event,
) -> tuple[tuple[ArchivedSession, ...], tuple[FailedArchiving, ...], CompactionResult | None]:
    url = resolve_database_url(settings)
    path = lease_path(url)
    # A relative folder lets the archive move together with a database in the data directory.
    folder_as_stored = ARCHIVE if sqlite_path(url).parent == data_dir.root else str(data_dir.root / ARCHIVE)
    moved: list[ArchivedSession] = []
    not_moved: list[FailedArchiving] = []
    compacted: CompactionResult | None = None
    last = 0

    def waiting(holder: str) -> None:
        on_progress(f"waiting up to {settings.retention.wait_seconds:g} s for {holder} to end")

    while not stop.is_set():
        with acquire_maintenance_lease(path, "retention", settings.retention.wait_seconds, waiting, stop) as lease:
            beat = LeaseHeartbeat(lease)
            with _open_engine(settings, "write") as engine:
                migrate(engine)
                # One session, and whether another one follows; sessions that failed earlier are not retried.
                found = find_archivable_sessions(engine, before, after=last, limit=2)
                for session in found[:1]:
                    last = session.session_no
                    try:
                        done = archive_ticks(
                            engine,
                            session,
                            data_dir,
                            ARCHIVE,
                            folder_as_stored=folder_as_stored,
                            at_ns=clock.wall_ns(),
                            on_step=beat,
                        )
                    except StorageError as error:
                        not_moved.append(FailedArchiving(session.session_id, str(error)))
                        on_progress(f"{session.session_id} was not moved: {error}")
                    else:
                        moved.append(done)
                        into = f"{plural(done.files, 'file')}, {plural(done.bytes, 'byte')}"
                        on_progress(f"{done.session_id}: {plural(done.ticks, 'tick')} in {into}")
                # Also without a moved session: an earlier retention may have been killed before compacting.
                freed = compact_database(engine, beat)
                compacted = freed if compacted is None else _add(compacted, freed)
        if len(found) <= 1:
            break
        stop.wait(TURN_SECONDS)
    return tuple(moved), tuple(not_moved), compacted


def _add(first: CompactionResult, second: CompactionResult) -> CompactionResult:
    return CompactionResult(first.pages + second.pages, first.bytes + second.bytes, second.free_pages)


def _delete_old_logs(settings: SessionSettings, data_dir: DataDir, now: int, *, remove: bool) -> Iterator[RemovedLog]:
    """Yield, and delete if ``remove``, logs and evidence of stand-alone checks that have not changed for too long.

    Skips the logs of running sessions. A check every 15 minutes leaves 35,000 files a year.
    """
    days = settings.retention.logs_days
    if days is None:
        return
    with _open_engine(settings, "read") as engine:
        running = {session.session_id for session in find_sessions(engine, state=SessionState.RUNNING)}
    for folder, pattern in (("logs", "*.jsonl"), (CHECKS, "*.json")):
        for path in sorted((data_dir.root / folder).glob(pattern)):
            status = path.lstat()
            if path.stem in running or status.st_mtime_ns >= now - days * DAY_NS:
                continue
            resolved: Path = data_dir.resolve(f"{folder}/{path.name}")
            if remove:
                resolved.unlink(missing_ok=True)
            yield RemovedLog(f"{folder}/{path.name}", status.st_size)


@contextmanager
def _open_engine(settings: SessionSettings, role: Role) -> Iterator[sa.Engine]:
    engine = open_engine(
        resolve_database_url(settings),
        role=role,
        busy_timeout_ms=settings.storage.busy_timeout_ms,
    )
    try:
        yield engine
    finally:
        engine.dispose()
