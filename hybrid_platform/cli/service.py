"""`hybrid-platform shadow-run` as its service manager and its operators see it: signs of life, and notices.

in: the run, looked at some times a second by the command's main thread · out: sd_notify and notifications.
Under Dagster this is the work of its sensors.
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
from hybrid_platform.observability.notifications.messages import Origin, commanded, ended_badly, recovered
from hybrid_platform.observability.notifications.notifier import Notifier, origin_of
from hybrid_platform.observability.systemd import ServiceManager
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.queries import find_sessions
from hybrid_platform.storage.session_records import SessionState

if TYPE_CHECKING:
    from hybrid_platform.domain.commands import Command
    from hybrid_platform.evidence.run_context import RunContext
    from hybrid_platform.session.runner import SessionRunner
    from hybrid_platform.settings.session import SessionSettings

STILL_SECONDS = 10.0
"""A supervising thread that has not looked for so long is no sign of life; it looks ten times a second."""
PATIENCE_SECONDS = 30.0
"""How long the end of the command may wait for receivers."""
ENDED_BADLY = frozenset({SessionState.FAILED, SessionState.CRASHED, SessionState.REFUSED})


class Service:
    """One run of the command; used by its main thread."""

    def __init__(self, settings: SessionSettings) -> None:
        self._settings = settings.notify
        self._clock = SystemClock()
        self._manager = ServiceManager(os.environ, self._clock)
        self._manager.status("checking the host")
        self._run: RunContext | None = None
        self._notifier: Notifier | None = None
        self._command: Command | None = None
        self._is_ready = False

    def opened(self, run: RunContext) -> None:
        """The run has an identity and a log."""
        self._run = run
        self._notifier = Notifier(self._settings, run.log)

    def look(self, shadow: SessionRunner) -> None:
        """Pass a sign of life on, if the session's supervising thread gives one; and tell of halts and resumes."""
        session = shadow.session
        if session is None:
            return
        if not self._is_ready:
            self._is_ready = True
            self._manager.ready("the session runs")
        if self._clock.monotonic_ns() - session.last_poll_ns() < STILL_SECONDS * NS_PER_S:
            now = session.progress()
            self._manager.alive(
                f"{now.elapsed_s:.0f} s: {now.ticks:,} ticks, {now.orders:,} orders, {now.vetoes:,} vetoes, "
                f"{now.dropped:,} dropped, trading {session.counters.decisions.trading_state}"
            )
        command = session.counters.decisions.command
        if command is not self._command and command is not None and self._notifier is not None:
            self._notifier.tell(commanded(self._origin(), command))
        self._command = command

    def drained(self, shadow: SessionRunner) -> None:
        """The session's threads ended."""
        self.look(shadow)
        self._manager.stopping("drained: counting rows, writing evidence")

    def ended(self, exit_code: int, reasons: Sequence[str]) -> None:
        """The run has its verdict; wait for the receivers."""
        if self._run is None or self._notifier is None:
            return
        if exit_code:
            self._notifier.tell(ended_badly(self._origin(), exit_code, reasons))
        elif (before := _before(self._run)) is not None:
            self._notifier.tell(recovered(self._origin(), before))
        self._notifier.close(PATIENCE_SECONDS)

    def refused(self, error: Exception) -> None:
        """The run ended before it had a verdict: say so, whatever else is wrong."""
        with SessionLog("", self._clock, stream=sys.stdout) as log:
            try:
                notifier = Notifier(self._settings, log)
            except PlatformError as unreachable:
                if str(unreachable) != str(error):  # else it is said already, as what ended the run
                    log.warning("nobody can be notified", error=str(unreachable))
                return
            if isinstance(error, PlatformError):
                code, reasons = error.exit_code, str(error).splitlines()
            else:
                code, reasons = ExitCode.CRASH, [f"{type(error).__name__}: {error}"]
            notifier.tell(ended_badly(self._origin(), int(code), reasons))
            notifier.close(PATIENCE_SECONDS)

    def _origin(self) -> Origin:
        run = self._run
        identity = (None, None) if run is None else (run.session_id, run.run_id)
        return origin_of(self._settings, self._clock, session_id=identity[0], run_id=identity[1], in_dagster=False)


@contextmanager
def serving(settings: SessionSettings) -> Iterator[Service]:
    """Yield the run's service; an error that ends the run is told, and goes on its way."""
    service = Service(settings)
    try:
        yield service
    except Exception as error:
        service.refused(error)
        raise


def _before(run: RunContext) -> str | None:
    """Return the session before this one, if it did not end well."""
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
