"""Checks by the clock. All start switched off: whoever wants them turns them on in the UI."""

from __future__ import annotations

import dagster as dg

from hybrid_platform.defs.jobs import postflight_job, preflight_job
from hybrid_platform.defs.matrix import verification_matrix_job

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

matrix_schedule = dg.ScheduleDefinition(
    name="verification_matrix_weekly",
    job=verification_matrix_job,
    cron_schedule="30 3 * * 0",
    execution_timezone="UTC",
    description="The whole contract proved anew, every Sunday at 03:30 UTC: minutes of all cores, in a checkout only.",
)
