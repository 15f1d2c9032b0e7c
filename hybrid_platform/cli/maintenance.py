"""Maintenance of the database: `retain` keeps it small, `backup` and `restore` keep it safe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hybrid_platform.cli.options import config_option, data_dir_option, db_option, read_settings, set_option
from hybrid_platform.domain.text import plural


@click.command()
@click.option("--dry-run", is_flag=True, help="Print what would be moved and removed; change nothing.")
@config_option
@set_option
@db_option
@data_dir_option
def retain(dry_run: bool, config_file: Path | None, assignments: tuple[str, ...], **flags: Any) -> int:
    """Move the ticks of old sessions to Parquet files, compact the database, remove old logs.

    The settings `retention.*` define what is old. Waits for a running session to end, and lets none start while ticks
    are moved. Exit codes: 12 if the session outlasts `retention.wait_seconds`, 1 if a session could not be moved; the
    others are moved nevertheless.
    """
    from hybrid_platform.domain.clocks import SystemClock
    from hybrid_platform.maintenance.retention import apply_retention as run

    settings = read_settings(config_file, assignments, **flags)
    rules = settings.retention
    if rules.ticks_days is None and rules.logs_days is None:
        click.echo(
            "nothing to do: neither retention.ticks_days nor retention.logs_days is set"
            " (retention.dagster_days is for the job `retention`)"
        )
        return 0
    found = run(settings, SystemClock(), is_rehearsal=dry_run, on_progress=lambda line: click.echo(line, err=True))
    would = "would " if dry_run else ""
    for session in found.moved:
        into = "" if dry_run else f" in {plural(session.files, 'file')}"
        click.echo(f"{would}move {session.session_id}: {plural(session.ticks, 'tick')}{into}")
    for log in found.logs:
        click.echo(f"{would}remove {log.name}: {plural(log.bytes, 'byte')}")
    figures = found.figures
    click.echo(
        f"{plural(figures['sessions'], 'session')}, {plural(figures['ticks'], 'tick')} to {found.archive}; "
        f"{plural(figures['freed_bytes'], 'byte')} freed in the database, {figures['logs_bytes']:,} in logs and checks"
    )
    found.raise_failures()
    return 0


@click.command()
@click.option(
    "--to", "target", required=True, type=click.Path(path_type=Path), help="The backup file; must not exist yet."
)
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@config_option
@set_option
@db_option
@data_dir_option
def backup(target: Path, overwrite: bool, config_file: Path | None, assignments: tuple[str, ...], **flags: Any) -> int:
    """Copy the database, also while a session writes to it, and verify the pages and counts of the copy.

    Archived ticks are files already: copy `archive/` in the data directory as well.
    """
    from hybrid_platform.security.paths import check_output_file
    from hybrid_platform.storage.backup import back_up
    from hybrid_platform.storage.location import resolve_database_url, sqlite_path

    settings = read_settings(config_file, assignments, **flags)
    report = back_up(
        sqlite_path(resolve_database_url(settings)), check_output_file(target, "--to"), overwrite=overwrite
    )
    click.echo(_render_backup(report))
    return 0


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@config_option
@set_option
@db_option
@data_dir_option
def restore(file: Path, config_file: Path | None, assignments: tuple[str, ...], **flags: Any) -> int:
    """Verify the backup FILE and replace the database with it; the replaced database is kept next to it.

    Exits 12 while a session runs.
    """
    from hybrid_platform.domain.clocks import SystemClock
    from hybrid_platform.maintenance.restore import restore as run
    from hybrid_platform.security.paths import check_input_file

    settings = read_settings(config_file, assignments, **flags)
    found = run(settings, check_input_file(file, "FILE"), SystemClock())
    click.echo(_render_backup(found.backup))
    click.echo(
        f"restored {found.database}" + ("" if found.kept is None else f"; the previous database is {found.kept}")
    )
    for path in found.missing[:10]:
        click.echo(f"archived ticks are missing: {path}", err=True)
    if len(found.missing) > 10:
        click.echo(f"and {len(found.missing) - 10:,} more", err=True)
    return 0


def _render_backup(report: Any) -> str:
    rows = ", ".join(f"{count:,} {name}" for name, count in report.rows.items() if count) or "no rows"
    running = f", {report.running} running" if report.running else ""
    archived = f"; {plural(report.archived_ticks, 'more tick')} in the archive" if report.archived_ticks else ""
    return (
        f"{report.path}: {report.bytes:,} bytes, sha256 {report.sha256}\n"
        f"  schema {report.revision}, {plural(report.sessions, 'session')}{running}: {rows}{archived}"
    )


COMMANDS = (retain, backup, restore)
