"""The matrix's schedule. It is stopped by default; turn it on in the UI."""

import dagster as dg

from hybrid_platform.defs.matrix.jobs import verification_matrix_job

matrix_schedule = dg.ScheduleDefinition(
    name="verification_matrix_weekly",
    job=verification_matrix_job,
    cron_schedule="30 3 * * 0",
    execution_timezone="UTC",
    description="The whole contract proved again, every Sunday at 03:30 UTC: minutes of all cores, in a checkout only.",
)
