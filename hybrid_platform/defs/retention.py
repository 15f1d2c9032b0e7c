"""Retention in the UI: the same as ``hybrid-platform retain``, and Dagster's own runs of this platform pruned.

The job ``retention`` takes the settings of every job here; its schedule starts switched off. Whatever
``retention.*`` does not name stays.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log import SqliteEventLogStorage

from hybrid_platform.defs.runs import SESSION_TAG, failing_clearly
from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.settings.session import load_settings
from hybrid_platform.storage.files import COMPANIONS

JobLike = dg.JobDefinition | UnresolvedAssetJobDefinition
RUNS_AT_ONCE = 100
MOST_RUNS = 20_000
"""Of one retention; a schedule comes again tomorrow."""


def retention_of(jobs: Iterable[JobLike]) -> tuple[dg.JobDefinition, dg.ScheduleDefinition]:
    """Return the job and its schedule; ``jobs`` are the platform's others, whose runs may be pruned with its own."""
    names = {"retention", *(job.name for job in jobs)}

    @dg.op(required_resource_keys={"session"}, out=dg.Out(dg.Nothing))
    def retain_now(context: dg.OpExecutionContext) -> None:
        """Move old ticks, compact the database, remove old logs and old runs; only what ``retention.*`` says."""
        # Here: it loads pyarrow, without which everything else starts sooner.
        from hybrid_platform.maintenance.retain import retain

        with failing_clearly(context):
            settings = load_settings(context.resources.session.stated)
            rules = settings.retention
            figures: dict[str, int] = {}
            found = None
            if rules.ticks_days is not None or rules.logs_days is not None:
                found = retain(settings, SystemClock(), tell=context.log.info)
                figures = dict(found.figures)
            if rules.dagster_days is not None:
                before = datetime.now(UTC) - timedelta(days=rules.dagster_days)
                figures["runs"] = prune_runs(context.instance, names, before)
            if found is not None:
                found.require_whole()  # last: one session that cannot be moved keeps nothing else
        context.add_output_metadata(figures)

    @dg.job(
        name="retention",
        description="Clear away what is older than `retention.*` allows: ticks to Parquet files, logs, Dagster's runs.",
        executor_def=dg.in_process_executor,
    )
    def retention() -> None:
        retain_now()

    schedule = dg.ScheduleDefinition(
        name="retention_daily",
        job=retention,
        cron_schedule="30 1 * * *",
        execution_timezone="UTC",
        description="Old ticks, logs and runs cleared away, every day at 01:30 UTC.",
    )
    return retention, schedule


def prune_runs(instance: dg.DagsterInstance, jobs: Collection[str], before: datetime) -> int:
    """Delete the ended runs of these jobs that were last updated before a time; return how many.

    With a run go its events, its captured output, and its file where each run has one. A run of another
    platform on the same instance stays, and so does one that has not ended.
    """
    old = dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=before)
    pruned, cursor = 0, None
    while pruned < MOST_RUNS:
        runs = instance.get_runs(old, cursor=cursor, limit=RUNS_AT_ONCE)
        if not runs:
            break
        kept = None
        for run in runs:
            if run.job_name in jobs or SESSION_TAG in run.tags:
                _delete(instance, run.run_id)
                pruned += 1
            else:
                kept = run.run_id
        # The cursor is a run that is still there: those before it were looked at.
        cursor = kept or cursor
    return pruned


def _delete(instance: dg.DagsterInstance, run_id: str) -> None:
    instance.delete_run(run_id)
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    events = instance.event_log_storage
    if isinstance(events, SqliteEventLogStorage):
        # Its rows are gone, the file would stay as large as it was.
        for end in (*COMPANIONS, "-journal"):
            Path(events.path_for_shard(run_id) + end).unlink(missing_ok=True)
