"""A step and its Dagster run: the platform's run context, the run's tags, and clear failures."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import dagster as dg
import msgspec

from hybrid_platform.defs.shared.names import ERROR_TAG, EXIT_CODE_TAG, EXIT_REASON_TAG, PROCESS_TAG, SESSION_TAG
from hybrid_platform.defs.shared.resources import SessionConfig
from hybrid_platform.domain.clocks import NS_PER_S, SystemClock
from hybrid_platform.domain.errors import ExitCode, GateRefused, PlatformError
from hybrid_platform.evidence.records import Evidence
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.gates.host_checks import CheckEvidence
from hybrid_platform.host.process import ProcessIdentity, this_process
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.run.finalize import report_refusal
from hybrid_platform.run.open import open_run
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.session import SessionSettings

StepContext = dg.AssetExecutionContext | dg.OpExecutionContext

STORAGE_TIMEOUT_S = 30.0
"""How long to wait while Dagster's own storage is locked."""
RETRY_INTERVAL_S = 0.5


class RunProcess(msgspec.Struct, frozen=True):
    """A run and the process that executes it.

    It names the run because a re-executed run inherits the tags of the first one, but not its process.
    """

    run_id: str
    owner: ProcessIdentity


class DagsterStorageError(PlatformError):
    """Dagster's own storage is locked or lost. The session is intact, but Dagster cannot continue its run."""


def load_run_settings(context: StepContext) -> tuple[SessionSettings, DataDir]:
    """Return the validated settings of the run's `session` resource, and its data directory."""
    settings = _load_settings(context)
    return settings, DataDir(settings.data_dir)


def _load_settings(context: StepContext) -> SessionSettings:
    launched: SessionConfig = context.resources.session
    return load_settings(launched.stated)


@contextmanager
def dagster_run(context: StepContext) -> Iterator[RunContext]:
    """Yield the platform's context of a Dagster run; errors fail the step as `failing_clearly` describes.

    The session id is derived from the run's id and creation time. All four assets therefore agree on it without
    passing anything on, and a re-executed run is another session.
    """
    run_id = context.run.run_id
    record = context.instance.get_run_record_by_id(run_id)
    created = (
        context.instance.get_run_stats(run_id).launch_time if record is None else record.create_timestamp.timestamp()
    )
    with failing_clearly(context):
        settings = _load_settings(context)
        created_ns = int((created or 0) * NS_PER_S)
        with open_run(settings, run_id=run_id, created_ns=created_ns, after_refusal=report_refusal) as run:
            process = msgspec.json.encode(RunProcess(run_id, this_process())).decode()
            tags = {SESSION_TAG: run.session_id, PROCESS_TAG: process}
            if record is None or not tags.items() <= record.dagster_run.tags.items():  # the first step in this process
                _add_tags(context, tags)
            yield run


@contextmanager
def failing_clearly(context: StepContext) -> Iterator[None]:
    """Turn an operational error into one clear failure of the step, and tag the run with its exit code."""
    try:
        yield
    except PlatformError as error:
        if not isinstance(error, GateRefused):  # the run's own log has it already
            _print_error(str(error), error.exit_code)
        with suppress(DagsterStorageError):  # the storage itself may be what failed
            _add_tags(context, {EXIT_CODE_TAG: str(int(error.exit_code)), EXIT_REASON_TAG: type(error).__name__})
        raise dg.Failure(
            description=str(error), metadata={"exit_code": int(error.exit_code)}, allow_retries=False
        ) from None
    except Exception as error:
        _print_error(
            f"{type(error).__name__}: {error} (a fault of the platform; the run's page shows where)", ExitCode.CRASH
        )
        with suppress(DagsterStorageError):
            _add_tags(context, {EXIT_CODE_TAG: str(int(ExitCode.CRASH))})
        raise


def _print_error(message: str, exit_code: ExitCode) -> None:
    """Print an error line by line to the run's output; the terminal shows nothing else of it."""
    with SessionLog("", SystemClock(), stream=sys.stdout) as log:
        for line in message.splitlines():
            log.error(line, exit_code=int(exit_code))


def tag_exit(context: StepContext, evidence: Evidence | CheckEvidence, *, is_last: bool) -> None:
    """Tag the run with the exit code and reason. Dagster itself only knows 0 and 1; the supervisor reads the tags.

    Only the last step tags 0, because a run that is killed earlier must not carry the code of a successful one.
    Raises DagsterStorageError if Dagster's storage refuses the tags.
    """
    tags = {EXIT_CODE_TAG: str(evidence.exit_code)} if is_last or evidence.exit_code else {}
    reason = getattr(evidence, "exit_reason", None)
    if reason:
        tags[EXIT_REASON_TAG] = reason
    if isinstance(error := getattr(evidence, "error", None), str):
        tags[ERROR_TAG] = error
    if tags:
        _add_tags(context, tags)


def _add_tags(context: StepContext, tags: dict[str, str]) -> None:
    """Write tags; wait while Dagster's storage is locked."""
    deadline = time.monotonic() + STORAGE_TIMEOUT_S
    while True:
        try:
            context.instance.add_run_tags(context.run.run_id, tags)
        except Exception as error:
            if "locked" in str(error) and time.monotonic() < deadline:
                time.sleep(RETRY_INTERVAL_S)
                continue
            was = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
            raise DagsterStorageError(f"Dagster's own storage: expected it to take the run's tags, got {was}") from None
        return
