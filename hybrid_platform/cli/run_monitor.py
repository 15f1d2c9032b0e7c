"""Reports about a run of `shadow-run`: its status to the service manager, notifications to its operators.

in: the run, polled a few times a second by the command's main thread · out: sd_notify messages, notifications.
Under Dagster the sensors in `defs.notifications` do this.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hybrid_platform.domain.clocks import NS_PER_S, SystemClock
from hybrid_platform.domain.errors import ExitCode, PlatformError
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.observability.notifications.delivery import Notifier, describe_source
from hybrid_platform.observability.notifications.messages import (
    NotificationSource,
    build_failure,
    build_recovery,
    build_trading_change,
)
from hybrid_platform.observability.systemd import ServiceManager
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.queries import find_sessions
from hybrid_platform.storage.session_records import SessionState

if TYPE_CHECKING:
    from hybrid_platform.domain.commands import Command
    from hybrid_platform.evidence.run_context import RunContext
    from hybrid_platform.session.runner import SessionRunner
    from hybrid_platform.settings.session import SessionSettings

STALL_SECONDS = 10.0
"""A supervising thread that has not polled for this long does not count as alive; it polls ten times a second."""
DELIVERY_SECONDS = 30.0
"""How long the end of the command may wait for the delivery of notifications."""
ENDED_BADLY = frozenset({SessionState.FAILED, SessionState.CRASHED, SessionState.REFUSED})


class RunMonitor:
    """Monitor of one run of the command. Owned by its main thread."""

    def __init__(self, settings: SessionSettings) -> None:
        self._settings = settings.notify
        self._clock = SystemClock()
        self._manager = ServiceManager(os.environ, self._clock)
        self._manager.status("checking the host")
        self._run: RunContext | None = None
        self._notifier: Notifier | None = None
        self._command: Command | None = None
        self._is_ready = False

    def on_opened(self, run: RunContext) -> None:
        """Take over the identity and the log of a run that was opened."""
        self._run = run
        self._notifier = Notifier(self._settings, run.log)

    def poll(self, runner: SessionRunner) -> None:
        """Report that the session is alive, if its supervising thread is; notify of halts and resumes."""
        session = runner.pipeline
        if session is None:
            return
        if not self._is_ready:
            self._is_ready = True
            self._manager.ready("the session runs")
        if self._clock.monotonic_ns() - session.last_poll_ns() < STALL_SECONDS * NS_PER_S:
            now = session.progress()
            self._manager.alive(
                f"{now.elapsed_s:.0f} s: {now.ticks:,} ticks, {now.orders:,} orders, {now.vetoes:,} vetoes, "
                f"{now.dropped:,} dropped, trading {session.counters.decisions.trading_state}"
            )
        command = session.counters.decisions.command
        if command is not self._command and command is not None and self._notifier is not None:
            self._notifier.send(build_trading_change(self._describe_source(), command))
        self._command = command

    def on_drained(self, runner: SessionRunner) -> None:
        """Report that the session's threads have ended."""
        self.poll(runner)
        self._manager.stopping("drained: counting rows, writing evidence")

    def on_verdict(self, exit_code: int, reasons: Sequence[str]) -> None:
        """Notify of the run's verdict, and wait for the delivery."""
        if self._run is None or self._notifier is None:
            return
        if exit_code:
            self._notifier.send(build_failure(self._describe_source(), exit_code, reasons))
        elif (before := _find_failed_predecessor(self._run)) is not None:
            self._notifier.send(build_recovery(self._describe_source(), before))
        self._notifier.close(DELIVERY_SECONDS)

    def on_error(self, error: Exception) -> None:
        """Notify of an error that ended the run before it had a verdict."""
        with SessionLog("", self._clock, stream=sys.stdout) as log:
            try:
                notifier = Notifier(self._settings, log)
            except PlatformError as unreachable:
                if str(unreachable) != str(error):  # otherwise it was reported already, as the error that ended the run
                    log.warning("notifications not delivered", error=str(unreachable))
                return
            if isinstance(error, PlatformError):
                code, reasons = error.exit_code, str(error).splitlines()
            else:
                code, reasons = ExitCode.CRASH, [f"{type(error).__name__}: {error}"]
            notifier.send(build_failure(self._describe_source(), int(code), reasons))
            notifier.close(DELIVERY_SECONDS)

    def _describe_source(self) -> NotificationSource:
        run = self._run
        identity = (None, None) if run is None else (run.session_id, run.run_id)
        return describe_source(
            self._settings, self._clock, session_id=identity[0], run_id=identity[1], in_dagster=False
        )


@contextmanager
def monitor_run(settings: SessionSettings) -> Iterator[RunMonitor]:
    """Yield the run's monitor; report an error that ends the run, and raise it again."""
    monitor = RunMonitor(settings)
    try:
        yield monitor
    except Exception as error:
        monitor.on_error(error)
        raise


def _find_failed_predecessor(run: RunContext) -> str | None:
    """Return the session before this one, if it failed."""
    engine = open_engine(run.database_url, role="read")
    try:
        this, *earlier = find_sessions(engine, limit=2)
    except (PlatformError, ValueError):
        return None
    finally:
        engine.dispose()
    if this.session_id != run.session_id or not earlier or earlier[0].state not in ENDED_BADLY:
        return None
    return f"{earlier[0].session_id} ({earlier[0].state})"
