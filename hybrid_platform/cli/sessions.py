"""Finished and running sessions: `sessions` lists them, `report` and `export` write what they left."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from hybrid_platform.cli.options import (
    config_option,
    data_dir_option,
    db_option,
    open_reader,
    read_settings,
    set_option,
)
from hybrid_platform.domain.text import plural


@click.command()
@config_option
@set_option
@db_option
@data_dir_option
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="How many, newest first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def sessions(config_file: Path | None, assignments: tuple[str, ...], last: int, as_json: bool, **flags: Any) -> None:
    """List the sessions in the database."""
    import json

    from hybrid_platform.domain.clocks import iso_utc
    from hybrid_platform.storage.frames import list_sessions

    with open_reader(read_settings(config_file, assignments, **flags)) as engine:
        frame = list_sessions(engine, last)
    frame = frame.astype(object).where(frame.notna(), None)  # a running session has no end yet
    if as_json:
        for row in frame.to_dict("records"):
            click.echo(json.dumps(row, default=str))
        return
    for name in ("started_at", "ended_at"):
        frame[name] = [None if ns is None else iso_utc(int(ns)) for ns in frame[name]]
    columns = ["session_id", "mode", "state", "exit_code", "exit_reason", "strategy", "feed", "started_at", "ended_at"]
    click.echo("no sessions" if frame.empty else frame[columns].to_string(index=False, na_rep="–"))


@click.command()
@click.argument("session_id", required=False)
@config_option
@set_option
@data_dir_option
def report(session_id: str | None, config_file: Path | None, assignments: tuple[str, ...], **flags: Any) -> None:
    """Write a session's report again from its evidence, and print its path; the last session by default."""
    from hybrid_platform.report.writer import find_last_session, write_reports
    from hybrid_platform.security.paths import DataDir

    data_dir = DataDir(read_settings(config_file, assignments, **flags).data_dir)
    click.echo(write_reports(data_dir, session_id or find_last_session(data_dir)))


@click.command()
@click.argument("session_id")
@click.option(
    "--to", "folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write into."
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["parquet", "csv"]),
    default="parquet",
    show_default=True,
    help="Parquet keeps types; CSV escapes text that a spreadsheet would run.",
)
@click.option("--table", "tables", multiple=True, help="Only these tables; may be repeated (default: all).")
@config_option
@set_option
@db_option
@data_dir_option
def export(
    session_id: str,
    folder: Path,
    kind: Literal["parquet", "csv"],
    tables: tuple[str, ...],
    config_file: Path | None,
    assignments: tuple[str, ...],
    **flags: Any,
) -> None:
    """Write a session's tables to Parquet or CSV files."""
    from hybrid_platform.storage.export import export_session

    with open_reader(read_settings(config_file, assignments, **flags)) as engine:
        for path, rows in export_session(engine, session_id, folder, kind=kind, tables=tables or None):
            click.echo(f"{path}: {plural(rows, 'row')}")


COMMANDS = (sessions, report, export)
