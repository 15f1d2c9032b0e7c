"""The job `retention`: the same as ``hybrid-platform retain``, and deletion of the platform's old runs in Dagster.

It takes the settings of every job here. Anything that ``retention.*`` does not name stays.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from hybrid_platform.defs.shared.dagster_internals import event_log_file
from hybrid_platform.defs.shared.names import PLATFORM_JOBS, SESSION_TAG
from hybrid_platform.defs.shared.runs import failing_clearly, load_run_settings
from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.storage.location import FILE_SUFFIXES

RUNS_PER_PAGE = 100
MAX_RUNS = 20_000
"""Most runs that one retention deletes; the schedule starts the next one tomorrow."""
FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dg.op(required_resource_keys={"session"}, out=dg.Out(dg.Nothing))
def retain_now(context: dg.OpExecutionContext) -> None:
    """Move old ticks, compact the database, remove old logs and old runs, as far as ``retention.*`` says."""
    # Imported here because it loads pyarrow, which everything else does without.
    from hybrid_platform.maintenance.retention import apply_retention

    with failing_clearly(context):
        settings, _ = load_run_settings(context)
        rules = settings.retention
        figures: dict[str, int] = {}
        result = None
        if rules.ticks_days is not None or rules.logs_days is not None:
            result = apply_retention(settings, SystemClock(), on_progress=context.log.info)
            figures = dict(result.figures)
        if rules.dagster_days is not None:
            before = datetime.now(UTC) - timedelta(days=rules.dagster_days)
            figures["runs"] = prune_runs(context.instance, PLATFORM_JOBS, before)
        if result is not None:
            result.raise_failures()  # last: a session that cannot be moved must not keep the rest
    context.add_output_metadata(figures)


@dg.job(
    name="retention",
    description="Clear away what is older than `retention.*` allows: ticks to Parquet files, logs, Dagster's runs.",
    executor_def=dg.in_process_executor,
)
def retention_job() -> None:
    """Remove old ticks, logs and runs."""
    retain_now()


def prune_runs(
    instance: dg.DagsterInstance, jobs: Collection[str], before: datetime, *, runs_per_page: int = RUNS_PER_PAGE
) -> int:
    """Delete the finished runs of these jobs that were last updated before a time; return how many.

    A run's events, its captured output and its own event file are deleted with it. Runs of other projects on the same
    instance stay, and so do runs that have not finished.
    """
    old = dg.RunsFilter(statuses=FINISHED, updated_before=before)
    pruned, cursor = 0, None
    while pruned < MAX_RUNS:
        runs = instance.get_runs(old, cursor=cursor, limit=runs_per_page)
        if not runs:
            break
        kept = None
        for run in runs:
            if run.job_name in jobs or SESSION_TAG in run.tags:
                _delete_run(instance, run.run_id)
                pruned += 1
            else:
                kept = run.run_id
        # The cursor has to be a run that still exists; the runs before it have been read.
        cursor = kept or cursor
    return pruned


def _delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    instance.delete_run(run_id)
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    events = event_log_file(instance, run_id)
    if events is not None:
        # Dagster deletes the rows; the file would keep its size.
        for suffix in (*FILE_SUFFIXES, "-journal"):
            Path(f"{events}{suffix}").unlink(missing_ok=True)
