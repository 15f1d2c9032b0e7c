"""Work on the host: `shadow-run` runs a whole session; `preflight` and `healthcheck` only look."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hybrid_platform.cli.options import config_option, data_dir_option, db_option, read_settings, set_option
from hybrid_platform.domain.errors import ExitCode

if TYPE_CHECKING:
    from hybrid_platform.cli.run_monitor import RunMonitor
    from hybrid_platform.evidence.records import SessionEvidence
    from hybrid_platform.evidence.run_context import RunContext
    from hybrid_platform.session.runner import SessionRunner
    from hybrid_platform.settings.session import SessionSettings

POLL_INTERVAL_S = 0.25


@click.command("shadow-run")
@config_option
@set_option
@click.option("--mode", help="shadow, paper or live (refused); in either case.")
@click.option("--seconds", type=float, help="Time limit.")
@db_option
@data_dir_option
def shadow_run(config_file: Path | None, assignments: tuple[str, ...], **flags: Any) -> int:
    """Run preflight, PRAGMA verification, the shadow run and postflight; exit with the session's code."""
    # The handlers come first: the imports of a run take a second or two, and a signal meanwhile gets the same answer.
    with _drain_on_signals() as stop:
        return _run_all_steps(stop, config_file, assignments, **flags)


def _run_all_steps(stop: _Stop, config_file: Path | None, assignments: tuple[str, ...], **flags: Any) -> int:
    from hybrid_platform.cli.dagster_report import report_to_dagster
    from hybrid_platform.cli.run_monitor import monitor_run
    from hybrid_platform.run.steps import run_steps

    settings = read_settings(config_file, assignments, **flags)
    if stop.reason is not None:
        click.echo(f"stopped by {stop.reason} before the session began: nothing was written", err=True)
        return int(ExitCode.COMPLETE)
    with monitor_run(settings) as monitor, _open_run(settings) as run:
        monitor.on_opened(run)
        result = run_steps(
            run,
            lambda runner: _run_session(runner, stop, monitor, settings.seconds),
            stop=stop.event,
            skip_wait=stop.again,
        )
        failed, report = result.decisive, result.report
        not_started = stop.reason is not None and len(result.steps) == 1
        if not not_started:
            monitor.on_verdict(failed.exit_code, failed.reasons)
    unreported = report_to_dagster(run, os.environ)
    if unreported is not None:
        click.echo(f"session not reported to Dagster: {unreported}", err=True)
    if not_started:
        # Exit code 0: a supervisor must not restart a run that was stopped on purpose.
        click.echo(f"stopped by {stop.reason} before the session began: report {report}", err=True)
        return int(ExitCode.COMPLETE)
    click.echo(f"{failed.verdict}: session {failed.session_id}, report {report}", err=True)
    for reason in failed.reasons:
        click.echo(f"  {reason}", err=True)
    return failed.exit_code


class _Stop:
    """Signal handler: sets an event for the steps before the session, and asks the running session to stop."""

    def __init__(self) -> None:
        import threading

        self.event = threading.Event()
        self.again = threading.Event()
        """Set by a second signal: do not wait for the host to calm down after the session either."""
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
    """Install a handler for SIGINT and SIGTERM that drains the session; a second signal skips the wait after it."""
    stop = _Stop()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _open_run(settings: SessionSettings) -> Iterator[RunContext]:
    from hybrid_platform.domain.clocks import SystemClock
    from hybrid_platform.log.session_log import render_json, render_text
    from hybrid_platform.run.finalize import report_refusal
    from hybrid_platform.run.open import open_run

    clock = SystemClock()
    with open_run(
        settings,
        run_id=str(uuid.uuid4()),
        created_ns=clock.wall_ns(),
        clock=clock,
        render=render_text if sys.stdout.isatty() else render_json,
        after_refusal=report_refusal,
    ) as run:
        yield run


def _run_session(runner: SessionRunner, stop: _Stop, monitor: RunMonitor, seconds: float | None) -> SessionEvidence:
    stop.session = runner
    if stop.reason is not None:
        runner.request_stop(stop.reason)
    runner.start()
    is_terminal = sys.stderr.isatty()
    monitor.poll(runner)
    while not runner.wait(POLL_INTERVAL_S):
        monitor.poll(runner)
        if is_terminal:
            line = _render_progress(runner.progress(), seconds)
            click.echo(f"\r\x1b[K{line}", nl=False, err=True)
    if is_terminal:
        click.echo("\r\x1b[K", nl=False, err=True)
    monitor.on_drained(runner)
    return runner.finish()


def _render_progress(progress: Any, seconds: float | None) -> str:
    remaining = "" if seconds is None else f"  {max(0.0, seconds - progress.elapsed_s):.0f} s left"
    return (
        f"{progress.elapsed_s:6.1f} s  {progress.ticks:,} ticks  {progress.ticks_per_second:,.0f}/s  "
        f"{progress.signals:,} signals  {progress.orders:,} orders  {progress.vetoes:,} vetoes  "
        f"{progress.dropped:,} dropped{remaining}"
    )


@click.command()
@config_option
@set_option
@db_option
@data_dir_option
def preflight(config_file: Path | None, assignments: tuple[str, ...], **flags: Any) -> int:
    """Check the host and the settings, as before a session; start nothing."""
    from hybrid_platform.gates.host_checks import run_check

    with _open_run(read_settings(config_file, assignments, **flags)) as run, _drain_on_signals() as stop:
        evidence = run_check(run, "preflight", stop.event)
    click.echo("\n".join([f"preflight {evidence.verdict}", *(f"  {reason}" for reason in evidence.reasons)]), err=True)
    return evidence.exit_code


@click.command()
@config_option
@set_option
@db_option
@data_dir_option
def healthcheck(config_file: Path | None, assignments: tuple[str, ...], **flags: Any) -> int:
    """Print one line per item, then PASS or FAIL; exit 0 or 1. A database that does not exist fails."""
    from hybrid_platform.domain.clocks import SystemClock
    from hybrid_platform.host.healthcheck import format_health_lines, run_healthcheck
    from hybrid_platform.storage.location import resolve_database_url
    from hybrid_platform.storage.probe import probe_database

    settings = read_settings(config_file, assignments, **flags)
    record = run_healthcheck(
        lambda: probe_database(resolve_database_url(settings)),
        Path(settings.data_dir),
        SystemClock(),
        dashboard_port=settings.gates.dashboard_port,
        min_free_disk_mb=settings.gates.min_free_disk_mb,
        require_clock_sync=settings.gates.require_clock_sync,
    )
    for line in format_health_lines(record):
        click.echo(line)
    return int(record.verdict.blocks)


COMMANDS = (shadow_run, preflight, healthcheck)
