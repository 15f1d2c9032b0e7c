"""The steps of a run, in order: preflight, database, session, postflight, report and seal.

`run_steps` does them all; Dagster's assets do them one by one and share `build_runner` with it. This is
also where a session gets the LIVE gate, which is in a higher layer.
"""

from __future__ import annotations

import threading
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, Protocol

from hybrid_platform.evidence.records import Evidence, SessionEvidence
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.gates.database import verify_database
from hybrid_platform.gates.postflight import postflight
from hybrid_platform.gates.preflight import preflight
from hybrid_platform.live.session_gate import InstalledLiveGate
from hybrid_platform.run.finalize import finalize_run
from hybrid_platform.session.runner import SessionRunner


class Step(IntEnum):
    """The steps of a run, in order."""

    PREFLIGHT = 1
    DATABASE = 2
    SESSION = 3
    POSTFLIGHT = 4
    REPORT = 5


class SessionDriver(Protocol):
    """Takes a session from its start to its evidence."""

    def __call__(self, runner: SessionRunner) -> SessionEvidence:
        """Start the session, wait until it has drained, and return its evidence."""


class RunResult(NamedTuple):
    """The evidence and the report of a run."""

    steps: tuple[Evidence, ...]
    """Evidence of each step that was done, in order."""
    report: Path | None
    """None if the run ended before its report was asked for."""

    @property
    def decisive(self) -> Evidence:
        """The first step that failed, or the last one."""
        return next((step for step in self.steps if step.exit_code), self.steps[-1])


def drive_to_end(runner: SessionRunner) -> SessionEvidence:
    """Run a session until its feed or its time ends."""
    runner.start()
    runner.wait()
    return runner.finish()


def run_steps(
    context: RunContext,
    drive: SessionDriver = drive_to_end,
    *,
    last: Step = Step.REPORT,
    stop: threading.Event | None = None,
    skip_wait: threading.Event | None = None,
) -> RunResult:
    """Do the steps of a run up to ``last``; a failed gate skips what follows, but not the report.

    ``stop`` ends the wait for low CPU pressure before the session; ``skip_wait`` ends the wait after it.
    """
    steps: list[Evidence] = [preflight(context, stop)]
    if not steps[-1].exit_code and last >= Step.DATABASE:
        steps.append(verify_database(context))
    if not steps[-1].exit_code and last >= Step.SESSION:
        steps.append(drive(build_runner(context)))
        if last >= Step.POSTFLIGHT:
            steps.append(postflight(context, skip_wait))
    return RunResult(tuple(steps), finalize_run(context).report if last >= Step.REPORT else None)


def build_runner(context: RunContext) -> SessionRunner:
    """Return the runner of a session, with the LIVE gate of this installation."""
    return SessionRunner(context, InstalledLiveGate())
