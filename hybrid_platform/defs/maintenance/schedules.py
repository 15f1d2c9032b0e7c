"""The schedule of the job `retention`. It is stopped by default; turn it on in the UI."""

import dagster as dg

from hybrid_platform.defs.maintenance.jobs import retention_job

retention_schedule = dg.ScheduleDefinition(
    name="retention_daily",
    job=retention_job,
    cron_schedule="30 1 * * *",
    execution_timezone="UTC",
    description="Old ticks, logs and runs cleared away, every day at 01:30 UTC.",
)
