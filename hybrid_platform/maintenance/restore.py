"""Restore of a verified backup between sessions; the replaced database is kept next to it.

in: a backup, settings · out: the backup's content, the path of the replaced database, missing archived files, and a
record, so that the next session can distinguish intended losses from others.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple

from hybrid_platform.domain.clocks import Clock, iso_utc
from hybrid_platform.domain.ids import make_session_id
from hybrid_platform.maintenance.lease import acquire_maintenance_lease, lease_path
from hybrid_platform.maintenance.lost_rows import find_recorded_sessions
from hybrid_platform.maintenance.restore_record import RestoreEvidence, portable_database_url, write_restore
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.archive import list_archived_files
from hybrid_platform.storage.backup import BackupReport, replace_database, verify_backup
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import create_database_file, resolve_database_url, sqlite_path
from hybrid_platform.storage.queries import find_sessions


class RestoreResult(NamedTuple):
    """Result of a restore."""

    backup: BackupReport
    database: Path
    kept: Path | None
    """Path of the replaced database; None if there was none."""
    missing: tuple[Path, ...]
    """Missing files of archived ticks that the restored database refers to."""


def restore(settings: SessionSettings, backup: Path, clock: Clock) -> RestoreResult:
    """Verify a backup and replace the settings' database with it.

    Raises LeaseHeld while a session or other maintenance runs, and the errors of `verify_backup`; the database is
    unchanged then.
    """
    started = clock.wall_ns()
    report = verify_backup(backup)
    data_dir, url = DataDir(settings.data_dir), resolve_database_url(settings)
    database = sqlite_path(url)
    if not database.parent.exists():
        create_database_file(database)
        database.unlink()
    with acquire_maintenance_lease(lease_path(url), "restore", 0.0, lambda holder: None, threading.Event()):
        kept = None
        if database.exists():
            stamp = iso_utc(started)[:19].translate({ord("-"): None, ord(":"): None})
            kept = database.with_name(f"{database.name}.replaced-{stamp}Z")
        replace_database(backup, database, kept or database)
        _write_record(settings, data_dir, report, kept, started, clock)
        return RestoreResult(report, database, kept, _find_missing_files(url))


def _write_record(
    settings: SessionSettings, data_dir: DataDir, report: BackupReport, kept: Path | None, started: int, clock: Clock
) -> None:
    """Record the restore after it; if it is killed before, the next session reports the differences as losses."""
    url = portable_database_url(settings)
    known = set(find_recorded_sessions(data_dir, url, limit=None))
    record = RestoreEvidence(
        "restore",
        iso_utc(started),
        iso_utc(clock.wall_ns()),
        url,
        str(report.path),
        report.sha256,
        None if kept is None else str(kept),
        report.by_session,
        tuple(sorted(known - report.by_session.keys())),
    )
    write_restore(data_dir, make_session_id(started, "restore"), record)


def _find_missing_files(url: str) -> tuple[Path, ...]:
    engine = open_engine(url, role="write")
    try:
        sessions = find_sessions(engine, limit=1_000_000)
        files = [path for session in sessions for path, _ in list_archived_files(engine, session.session_no)]
    finally:
        engine.dispose()
    return tuple(path for path in files if not path.is_file())
