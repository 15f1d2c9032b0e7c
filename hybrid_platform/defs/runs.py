"""What an asset's step needs of its Dagster run: the run's context for `pipeline`, tags, and clear failures."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import dagster as dg
import msgspec

from hybrid_platform.defs.resources import SessionConfig
from hybrid_platform.domain.clocks import NS_PER_S, SystemClock
from hybrid_platform.domain.errors import ExitCode, GateRefused, PlatformError
from hybrid_platform.evidence.records import Evidence
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.gates.host_checks import CheckEvidence
from hybrid_platform.host.process import ProcessIdentity, this_process
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.report.writer import report_refusal
from hybrid_platform.run.open import open_run
from hybrid_platform.settings.session import load_settings

StepContext = dg.AssetExecutionContext | dg.OpExecutionContext

SESSION_TAG = "hybrid_platform/session_id"
EXIT_CODE_TAG = "hybrid_platform/exit_code"
EXIT_REASON_TAG = "hybrid_platform/exit_reason"
PROCESS_TAG = ".dagster/hybrid_platform_process"
"""Which process runs the steps, as JSON of `RunProcess`: whoever looks for a killed run reads it. The UI hides it."""

STORAGE_SECONDS = 30.0
"""How long a locked storage of Dagster's is waited for."""
LOOK_SECONDS = 0.5


class RunProcess(msgspec.Struct, frozen=True):
    """A run and its process: a run that is re-executed inherits the tags of the first, and is not run by it."""

    run_id: str
    owner: ProcessIdentity


class DagsterStorageError(PlatformError):
    """Dagster's own storage is locked or lost: the session is not, but Dagster cannot go on with its run."""


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
            process = msgspec.json.encode(RunProcess(run_id, this_process())).decode()
            tags = {SESSION_TAG: run.session_id, PROCESS_TAG: process}
            if record is None or not tags.items() <= record.dagster_run.tags.items():  # the first step in this process
                _add_tags(context, tags)
            yield run


@contextmanager
def failing_clearly(context: StepContext) -> Iterator[None]:
    """Turn an operational error into one clear failure of the step, its exit code a tag of the run."""
    try:
        yield
    except PlatformError as error:
        if not isinstance(error, GateRefused):  # that one is in the run's own log
            _say(str(error), error.exit_code)
        with suppress(DagsterStorageError):  # where it is that which failed
            _add_tags(context, {EXIT_CODE_TAG: str(int(error.exit_code)), EXIT_REASON_TAG: type(error).__name__})
        raise dg.Failure(
            description=str(error), metadata={"exit_code": int(error.exit_code)}, allow_retries=False
        ) from None
    except Exception as error:
        _say(f"{type(error).__name__}: {error} (a fault of the platform; the run's page shows where)", ExitCode.CRASH)
        with suppress(DagsterStorageError):
            _add_tags(context, {EXIT_CODE_TAG: str(int(ExitCode.CRASH))})
        raise


def _say(message: str, exit_code: ExitCode) -> None:
    """Put an error into the run's output, a line for each of its lines; the terminal shows nothing else of it."""
    with SessionLog("", SystemClock(), stream=sys.stdout) as log:
        for line in message.splitlines():
            log.error(line, exit_code=int(exit_code))


def tag_exit(context: StepContext, evidence: Evidence | CheckEvidence, *, is_last: bool) -> None:
    """Say on the run how it stands: Dagster's own exit is 0 or 1, a supervisor reads these.

    Only the last step says 0: a run that is killed before it must not bear the code of one that ended well.
    Raises DagsterStorageError where Dagster's storage does not take it.
    """
    tags = {EXIT_CODE_TAG: str(evidence.exit_code)} if is_last or evidence.exit_code else {}
    reason = getattr(evidence, "exit_reason", None)
    if reason:
        tags[EXIT_REASON_TAG] = reason
    if tags:
        _add_tags(context, tags)


def _add_tags(context: StepContext, tags: dict[str, str]) -> None:
    """Write tags, waiting where Dagster's storage is locked."""
    deadline = time.monotonic() + STORAGE_SECONDS
    while True:
        try:
            context.instance.add_run_tags(context.run.run_id, tags)
        except Exception as error:
            if "locked" in str(error) and time.monotonic() < deadline:
                time.sleep(LOOK_SECONDS)
                continue
            was = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
            raise DagsterStorageError(f"Dagster's own storage: expected it to take the run's tags, got {was}") from None
        return
