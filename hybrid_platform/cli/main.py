"""`hybrid-platform`: the same work without Dagster.

Heavy modules are imported inside the commands, so that ``--help`` and ``healthcheck`` answer at once.
"""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from hybrid_platform import __version__
from hybrid_platform.cli import analysis, evidence, maintenance
from hybrid_platform.cli.options import config_option, data_dir_option, db_option, reader_of, set_option, settings_of
from hybrid_platform.domain.errors import ExitCode, PlatformError
from hybrid_platform.domain.text import plural

if TYPE_CHECKING:
    from hybrid_platform.cli.service import Service
    from hybrid_platform.evidence.records import Evidence
    from hybrid_platform.evidence.run_context import RunContext
    from hybrid_platform.settings.session import SessionSettings

WAIT_SECONDS = 0.25
TRACE = "HYBRID_PLATFORM_DEBUG_TRACE"


class _Group(click.Group):
    """Turns operational errors into one message and their exit code, and usage errors into 64."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except click.exceptions.Abort:
            sys.exit(130)
        except click.ClickException as error:
            error.show()
            sys.exit(ExitCode.USAGE)
        except PlatformError as error:
            for line in str(error).splitlines():
                click.echo(f"error: {line}", err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:
            sys.exit(0)
        except Exception as error:
            if TRACE in os.environ:
                raise
            click.echo(
                f"error: {type(error).__name__}: {error} (a fault of the platform; {TRACE}=1 shows where)", err=True
            )
            sys.exit(ExitCode.CRASH)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="hybrid-platform")
def main() -> None:
    """Prove that a trading strategy is safe before it touches money.

    Exit codes: 0 complete, 1 crash, 10 network, 11 parse, 12 config, 13 overload, 64 usage.
    """


@contextmanager
def _run(settings: SessionSettings) -> Iterator[RunContext]:
    from hybrid_platform.domain.clocks import SystemClock
    from hybrid_platform.log.session_log import as_json, as_text
    from hybrid_platform.report.writer import report_refusal
    from hybrid_platform.run.open import open_run

    clock = SystemClock()
    human = sys.stdout.isatty()
    with open_run(
        settings,
        run_id=str(uuid.uuid4()),
        created_ns=clock.wall_ns(),
        clock=clock,
        render=as_text if human else as_json,
        after_refusal=report_refusal,
    ) as run:
        yield run


@main.command("shadow-run")
@config_option
@set_option
@click.option("--mode", help="shadow, paper or live (refused); in either case.")
@click.option("--seconds", type=float, help="Time limit.")
@db_option
@data_dir_option
def shadow_run(config_file: Path | None, assignments: tuple[str, ...], **flags: Any) -> int:
    """Run preflight, PRAGMA verification, the shadow run and postflight; exit with the session's code."""
    # First: what the run imports takes a second or two, and whoever ends it meanwhile gets the same answer.
    with _drain_on_signals() as stop:
        return _whole_run(stop, config_file, assignments, **flags)


def _whole_run(stop: _Stop, config_file: Path | None, assignments: tuple[str, ...], **flags: Any) -> int:
    from hybrid_platform.cli.service import serving
    from hybrid_platform.gates.postflight import postflight
    from hybrid_platform.gates.preflight import preflight, verify_database
    from hybrid_platform.report.writer import conclude

    settings = settings_of(config_file, assignments, **flags)
    if stop.reason is not None:
        click.echo(f"stopped by {stop.reason} before the session began: nothing was written", err=True)
        return int(ExitCode.COMPLETE)
    with serving(settings) as service, _run(settings) as run:
        service.opened(run)
        steps: list[Evidence] = [preflight(run, stop.event)]
        if not steps[-1].exit_code:
            steps.append(verify_database(run))
        if not steps[-1].exit_code:
            steps.append(_session(run, stop, service))
            steps.append(postflight(run, stop.again))
        report = conclude(run).report
        failed = next((step for step in steps if step.exit_code), steps[-1])
        unbegun = stop.reason is not None and len(steps) == 1
        if not unbegun:
            service.ended(failed.exit_code, failed.reasons)
    if unbegun:
        # Nobody is to start it again: it was told to end before it began.
        click.echo(f"stopped by {stop.reason} before the session began: report {report}", err=True)
        return int(ExitCode.COMPLETE)
    click.echo(f"{failed.verdict}: session {failed.session_id}, report {report}", err=True)
    for reason in failed.reasons:
        click.echo(f"  {reason}", err=True)
    return failed.exit_code


class _Stop:
    """What a signal sets: an event for whoever waits before the session, and the running session itself."""

    def __init__(self) -> None:
        import threading

        self.event = threading.Event()
        self.again = threading.Event()
        """A second signal: do not wait for the host to calm down afterwards either."""
        self.reason: str | None = None
        self.session: Any = None

    def __call__(self, number: int, _frame: object) -> None:
        if self.reason is not None:
            self.again.set()
        self.reason = self.reason or signal.Signals(number).name
        self.event.set()
        if self.session is not None:
            self.session.request_stop(self.reason)


@contextmanager
def _drain_on_signals() -> Iterator[_Stop]:
    """SIGINT and SIGTERM ask for a drain; a second one for no waiting after it."""
    stop = _Stop()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _session(run: RunContext, stop: _Stop, service: Service) -> Evidence:
    from hybrid_platform.session.runner import SessionRunner

    shadow = SessionRunner(run)
    stop.session = shadow
    if stop.reason is not None:
        shadow.request_stop(stop.reason)
    show = sys.stderr.isatty()
    service.look(shadow)
    while not shadow.wait(WAIT_SECONDS):
        service.look(shadow)
        if show:
            click.echo(f"\r\x1b[K{_progress_line(shadow.progress(), run.settings.seconds)}", nl=False, err=True)
    if show:
        click.echo("\r\x1b[K", nl=False, err=True)
    service.drained(shadow)
    return shadow.finish()


def _progress_line(progress: Any, seconds: float | None) -> str:
    left = "" if seconds is None else f"  {max(0.0, seconds - progress.elapsed_s):.0f} s left"
    return (
        f"{progress.elapsed_s:6.1f} s  {progress.ticks:,} ticks  {progress.ticks_per_second:,.0f}/s  "
        f"{progress.signals:,} signals  {progress.orders:,} orders  {progress.vetoes:,} vetoes  "
        f"{progress.dropped:,} dropped{left}"
    )


@main.command()
@config_option
@set_option
@db_option
@data_dir_option
def preflight(config_file: Path | None, assignments: tuple[str, ...], **flags: Any) -> int:
    """Check the host and the settings, as before a session; start nothing."""
    from hybrid_platform.gates.host_checks import run_check

    with _run(settings_of(config_file, assignments, **flags)) as run, _drain_on_signals() as stop:
        evidence = run_check(run, "preflight", stop.event)
    click.echo("\n".join([f"preflight {evidence.verdict}", *(f"  {reason}" for reason in evidence.reasons)]), err=True)
    return evidence.exit_code


def _trading_command(name: str, doc: str) -> None:
    @main.command(name, help=doc)
    @click.option("--why", required=True, help="The reason; it is kept.")
    @click.option("--who", help="Who says so (default: the account that runs this).")
    @config_option
    @set_option
    @data_dir_option
    def give(why: str, who: str | None, config_file: Path | None, assignments: tuple[str, ...], **flags: Any) -> None:
        import getpass

        from hybrid_platform.domain.clocks import SystemClock
        from hybrid_platform.domain.commands import Command, CommandKind
        from hybrid_platform.security.paths import DataDir
        from hybrid_platform.session.commands import CommandFile

        data_dir = DataDir(settings_of(config_file, assignments, **flags).data_dir)
        try:
            command = Command(CommandKind(name.upper()), who or getpass.getuser(), why)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        CommandFile(data_dir, SystemClock()).give(command)
        click.echo(f"trading {command.kind.state} by {command.who}: {command.why} (in {data_dir.root})")


_trading_command("halt", "Halt trading in the running session, and in every later one until a resume.")
_trading_command("reduce", "Let only orders pass that make a position smaller, until a resume.")
_trading_command("resume", "Let trading go on after a halt; a person's deed, with a reason.")


@main.command()
@config_option
@set_option
@db_option
@data_dir_option
def healthcheck(config_file: Path | None, assignments: tuple[str, ...], **flags: Any) -> int:
    """Print one line per item, then PASS or FAIL; exit 0 or 1. A database that does not exist fails."""
    from hybrid_platform.domain.clocks import SystemClock
    from hybrid_platform.host.healthcheck import health_lines, run_healthcheck
    from hybrid_platform.storage.location import resolve_database_url
    from hybrid_platform.storage.probe import probe_database

    settings = settings_of(config_file, assignments, **flags)
    record = run_healthcheck(
        lambda: probe_database(resolve_database_url(settings)),
        Path(settings.data_dir),
        SystemClock(),
        dashboard_port=settings.gates.dashboard_port,
        min_free_disk_mb=settings.gates.min_free_disk_mb,
        require_clock_sync=settings.gates.require_clock_sync,
    )
    for line in health_lines(record):
        click.echo(line)
    return int(record.verdict.blocks)


@main.command()
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

    with reader_of(settings_of(config_file, assignments, **flags)) as engine:
        frame = list_sessions(engine, last)
    frame = frame.astype(object).where(frame.notna(), None)  # what a session that runs does not know yet
    if as_json:
        for row in frame.to_dict("records"):
            click.echo(json.dumps(row, default=str))
        return
    for name in ("started_at", "ended_at"):
        frame[name] = [None if ns is None else iso_utc(int(ns)) for ns in frame[name]]
    shown = frame[
        ["session_id", "mode", "state", "exit_code", "exit_reason", "strategy", "feed", "started_at", "ended_at"]
    ]
    click.echo("no sessions" if shown.empty else shown.to_string(index=False, na_rep="–"))


@main.command()
@click.argument("session_id", required=False)
@config_option
@set_option
@data_dir_option
def report(session_id: str | None, config_file: Path | None, assignments: tuple[str, ...], **flags: Any) -> None:
    """Write a session's report anew from its evidence, and print its path; the last session by default."""
    from hybrid_platform.report.writer import last_session, write_report
    from hybrid_platform.security.paths import DataDir

    data_dir = DataDir(settings_of(config_file, assignments, **flags).data_dir)
    click.echo(write_report(data_dir, session_id or last_session(data_dir)))


@main.command()
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
    help="Parquet keeps types; a CSV guards text that a spreadsheet would run.",
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

    with reader_of(settings_of(config_file, assignments, **flags)) as engine:
        for path, rows in export_session(engine, session_id, folder, kind=kind, tables=tables or None):
            click.echo(f"{path}: {plural(rows, 'row')}")


for command in (*evidence.COMMANDS, *analysis.COMMANDS, *maintenance.COMMANDS):
    main.add_command(command)

if __name__ == "__main__":
    main()
