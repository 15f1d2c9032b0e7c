"""Restore: a verified backup in the database's place, between sessions, the replaced file kept beside it.

in: a backup, settings · out: what it holds, where the replaced database is, which archived files of it are not
there, and a record of it all, so that the next session knows which loss was meant.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple

from hybrid_platform.domain.clocks import Clock, iso_utc
from hybrid_platform.domain.ids import make_session_id
from hybrid_platform.maintenance.lease import acquire_maintenance_lease, lease_path
from hybrid_platform.maintenance.lost_rows import recorded_sessions
from hybrid_platform.maintenance.restore_record import RestoreEvidence, portable_database_url, write_restore
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.archive import list_archived_files
from hybrid_platform.storage.backup import BackupReport, replace_database, verify_backup
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import create_database_file, resolve_database_url, sqlite_path
from hybrid_platform.storage.queries import find_sessions


class Restored(NamedTuple):
    """What a restore did."""

    backup: BackupReport
    database: Path
    kept: Path | None
    """The database that was replaced; None where there was none."""
    missing: tuple[Path, ...]
    """Files of archived ticks that the restored database names and that are not there."""


def restore(settings: SessionSettings, backup: Path, clock: Clock) -> Restored:
    """Verify a backup and put it in the place of the settings' database.

    Raises LeaseHeld while a session or other maintenance runs, ConfigError and StorageError as `verify_backup`;
    the database is as it was then.
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
        _record(settings, data_dir, report, kept, started, clock)
        return Restored(report, database, kept, _missing(url))


def _record(
    settings: SessionSettings, data_dir: DataDir, report: BackupReport, kept: Path | None, started: int, clock: Clock
) -> None:
    """Say what was put in place, once it is: a kill before this leaves a loss that the next session tells of."""
    place = portable_database_url(settings)
    known = set(recorded_sessions(data_dir, place, most=None))
    record = RestoreEvidence(
        "restore",
        iso_utc(started),
        iso_utc(clock.wall_ns()),
        place,
        str(report.path),
        report.sha256,
        None if kept is None else str(kept),
        report.by_session,
        tuple(sorted(known - report.by_session.keys())),
    )
    write_restore(data_dir, make_session_id(started, "restore"), record)


def _missing(url: str) -> tuple[Path, ...]:
    engine = open_engine(url, role="write")
    try:
        sessions = find_sessions(engine, limit=1_000_000)
        files = [path for session in sessions for path, _ in list_archived_files(engine, session.session_no)]
    finally:
        engine.dispose()
    return tuple(path for path in files if not path.is_file())
