"""What an asset's step needs of its Dagster run: the run's context for `pipeline`, tags, and clear failures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import msgspec

from hybrid_platform.config import load_settings
from hybrid_platform.defs.resources import SessionConfig
from hybrid_platform.domain.clocks import NS_PER_S, SystemClock
from hybrid_platform.domain.errors import ExitCode, GateRefused, PlatformError
from hybrid_platform.evidence.records import Evidence
from hybrid_platform.pipeline.checks import CheckEvidence
from hybrid_platform.pipeline.context import RunContext
from hybrid_platform.pipeline.run import open_run
from hybrid_platform.report.write import report_refusal
from hybrid_platform.safety.logs import SessionLog
from hybrid_platform.storage.records import this_process

StepContext = dg.AssetExecutionContext | dg.OpExecutionContext

SESSION_TAG = "hybrid_platform/session_id"
EXIT_CODE_TAG = "hybrid_platform/exit_code"
EXIT_REASON_TAG = "hybrid_platform/exit_reason"
PROCESS_TAG = "hybrid_platform/process"
"""Which process runs the steps, as JSON of `storage.records.Owner`: whoever looks for a killed run reads it."""


@contextmanager
def dagster_run(context: StepContext) -> Iterator[RunContext]:
    """Yield the run's context, `failing_clearly`.

    The session id follows from the run's own id and creation time, so all four assets agree on it
    without passing anything, and a re-executed run is another session.
    """
    stated: SessionConfig = context.resources.session
    run_id = context.run.run_id
    record = context.instance.get_run_record_by_id(run_id)
    created = (
        context.instance.get_run_stats(run_id).launch_time if record is None else record.create_timestamp.timestamp()
    )
    with failing_clearly(context):
        settings = load_settings(stated.stated)
        created_ns = int((created or 0) * NS_PER_S)
        with open_run(settings, run_id=run_id, created_ns=created_ns, after_refusal=report_refusal) as run:
            process = msgspec.json.encode(this_process()).decode()
            context.instance.add_run_tags(run_id, {SESSION_TAG: run.session_id, PROCESS_TAG: process})
            yield run


@contextmanager
def failing_clearly(context: StepContext) -> Iterator[None]:
    """Turn an operational error into one clear failure of the step, its exit code a tag of the run."""
    run_id = context.run.run_id
    try:
        yield
    except PlatformError as error:
        if not isinstance(error, GateRefused):  # that one is in the run's own log
            _say(str(error), error.exit_code)
        context.instance.add_run_tags(
            run_id, {EXIT_CODE_TAG: str(int(error.exit_code)), EXIT_REASON_TAG: type(error).__name__}
        )
        raise dg.Failure(
            description=str(error), metadata={"exit_code": int(error.exit_code)}, allow_retries=False
        ) from None
    except Exception as error:
        _say(f"{type(error).__name__}: {error} (a fault of the platform; the run's page shows where)", ExitCode.CRASH)
        context.instance.add_run_tags(run_id, {EXIT_CODE_TAG: str(int(ExitCode.CRASH))})
        raise


def _say(message: str, exit_code: ExitCode) -> None:
    """Put an error into the run's output, a line for each of its lines; the terminal shows nothing else of it."""
    with SessionLog("", SystemClock(), stream=sys.stdout) as log:
        for line in message.splitlines():
            log.error(line, exit_code=int(exit_code))


def tag_exit(context: StepContext, evidence: Evidence | CheckEvidence) -> None:
    """Say on the run how it stands: Dagster's own exit is 0 or 1, a supervisor reads these."""
    tags = {EXIT_CODE_TAG: str(evidence.exit_code)}
    reason = getattr(evidence, "exit_reason", None)
    if reason:
        tags[EXIT_REASON_TAG] = reason
    context.instance.add_run_tags(context.run.run_id, tags)
