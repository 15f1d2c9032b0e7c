"""Schedules of the healthchecks. They are stopped by default; turn them on in the UI."""

import dagster as dg

from hybrid_platform.defs.checks.jobs import postflight_job, preflight_job

preflight_schedule = dg.ScheduleDefinition(
    name="preflight_every_15_minutes",
    job=preflight_job,
    cron_schedule="*/15 * * * *",
    execution_timezone="UTC",
    description="Healthcheck and CPU pressure, every quarter of an hour.",
)

postflight_schedule = dg.ScheduleDefinition(
    name="postflight_daily",
    job=postflight_job,
    cron_schedule="5 0 * * *",
    execution_timezone="UTC",
    description="Host and last session, every day at 00:05 UTC.",
)
