"""Analysis of finished sessions: `reproduce`, `compare` and `sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hybrid_platform.cli.options import config_option, data_dir_option, db_option, read_settings, set_option

if TYPE_CHECKING:
    from hybrid_platform.evidence.reproduction import ReproductionEvidence


@click.command()
@click.argument("session_id", required=False)
@config_option
@set_option
@db_option
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def reproduce(
    session_id: str | None, config_file: Path | None, assignments: tuple[str, ...], as_json: bool, **flags: Any
) -> int:
    """Reproduce a finished session from its ticks and inputs in a fresh process, and compare every row.

    The last session by default. Writes reports/SESSION_ID/reproduce.json. Exit codes: 0 PASS, 1 FAIL
    (names the first row that differs), 3 INCOMPLETE (ticks were not persisted, or the session did not end
    COMPLETE); 12 no such session or strategy, 64 usage.
    """
    from hybrid_platform.evidence.files import encode_record
    from hybrid_platform.report.writer import find_last_session
    from hybrid_platform.reproduce.fresh import reproduce_in_sandbox
    from hybrid_platform.security.paths import DataDir
    from hybrid_platform.storage.location import resolve_database_url

    settings = read_settings(config_file, assignments, **flags)
    data_dir = DataDir(settings.data_dir)
    found = reproduce_in_sandbox(
        data_dir, resolve_database_url(settings), session_id or find_last_session(data_dir), settings.keys.signing_key
    )
    click.echo(encode_record(found).decode() if as_json else "\n".join(render_reproduction(found)))
    return found.exit_code


def render_reproduction(found: ReproductionEvidence) -> list[str]:
    """Return a reproduction as text: one line per table, then the verdict and its reasons."""
    from hybrid_platform.security.redaction import to_printable

    lines = [
        f"{table.name:13}{table.compared:>10,} rows compared  {table.differing:>6,} differ  "
        f"{table.reproduced_sha256[:16]}{'' if table.first is None else f'  was {table.recorded_sha256[:16]}'}"
        for table in found.tables
    ]
    seen = f"{found.shown:,} of {found.ticks:,} ticks shown again, {found.dropped:,} dropped again"
    journal = ", ".join(f"{count:,} {kind}" for kind, count in found.inputs.items()) or "none"
    return [
        *lines,
        f"{seen}; inputs: {journal}",
        "the strategy's code was not run"
        if found.enforced is None
        else f"guard {found.enforced.value}, {sum(each.count for each in found.denied)} denied",
        f"{found.verdict.value}: session {found.session_id}",
        *(f"  {to_printable(reason, 500)}" for reason in found.reasons),
    ]


@click.command()
@click.argument("sessions", nargs=-1, required=True, metavar="SESSION SESSION…")
@config_option
@set_option
@db_option
@data_dir_option
def compare(sessions: tuple[str, ...], config_file: Path | None, assignments: tuple[str, ...], **flags: Any) -> None:
    """Compare two or more finished sessions: settings, counts, measures, plots.

    A SESSION is an id in the database, or a path: another data directory (its last session), or a session's
    evidence directory in one. Prints the figures and the path of the report.
    """
    from hybrid_platform.analysis.sources import read_compared_sessions
    from hybrid_platform.report.comparison import build_comparison_frame, comparison_folder, write_comparison
    from hybrid_platform.security.paths import DataDir

    if len(sessions) < 2:
        raise click.UsageError("expected at least two sessions, got one")
    settings = read_settings(config_file, assignments, **flags)
    compared = read_compared_sessions(settings, sessions)
    title = "Comparison of " + ", ".join(each.session.session_id for each in compared)
    report = write_comparison(DataDir(settings.data_dir), comparison_folder(compared), title, compared)
    click.echo(build_comparison_frame(compared).to_string(na_rep="–"))
    click.echo(report)


@click.command()
@config_option
@set_option
@data_dir_option
@click.option("--report-only", is_flag=True, help="Run nothing; write the report on the points that have run.")
def sweep(config_file: Path | None, assignments: tuple[str, ...], report_only: bool, **flags: Any) -> int:
    """Run a session for each point of a parameter sweep in turn, then write one report on all.

    The file is the run config of the Dagster job plan_sweep: run_configs/sweep.yaml is an example. Each point has
    a separate data directory below sweeps/ in the data directory. Exits 1 if a point did not end COMPLETE.
    """
    from hybrid_platform.analysis.sweep import (
        plan_sweep,
        read_plan,
        read_sweep,
        run_point,
        write_plan,
        write_sweep_report,
    )
    from hybrid_platform.security.paths import DataDir

    if config_file is None:
        raise click.UsageError("expected --config with the sweep's run config, got none")
    name, vary = read_sweep(config_file)
    settings = read_settings(config_file, assignments, **flags)
    data_dir = DataDir(settings.data_dir)
    failed = 0
    if not report_only:
        plan = plan_sweep(name, settings, vary)
        write_plan(data_dir, plan)
        for number, point in enumerate(plan.points, 1):
            click.echo(f"{number} of {len(plan.points)}: {point.key}", err=True)
            failed += run_point(data_dir, plan, point.key) != 0
    click.echo(write_sweep_report(data_dir, read_plan(data_dir, name)))
    return int(failed > 0)


COMMANDS = (reproduce, compare, sweep)
