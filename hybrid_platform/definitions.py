"""The one Definitions object: everything that Dagster loads starts here."""

from __future__ import annotations

import dagster as dg

from hybrid_platform.defs.analysis import (
    compare_job,
    plan_sweep_job,
    reproduce_job,
    sweep_job,
    sweep_report_job,
    sweep_session,
)
from hybrid_platform.defs.assets import postflight_evidence, pragma_verification, preflight_healthcheck, shadow_run
from hybrid_platform.defs.jobs import (
    postflight_check,
    postflight_job,
    preflight_check,
    preflight_job,
    shadow_run_job,
)
from hybrid_platform.defs.kill_switch import halt_job, reduce_job, resume_job
from hybrid_platform.defs.matrix import verification_matrix, verification_matrix_job
from hybrid_platform.defs.notifications import notify_failure, notify_halt, notify_recovery
from hybrid_platform.defs.on_failure import postflight_on_failure
from hybrid_platform.defs.resources import session
from hybrid_platform.defs.retention import JobLike, retention_of
from hybrid_platform.defs.schedules import matrix_schedule, postflight_schedule, preflight_schedule
from hybrid_platform.defs.supervisor import shadow_run_supervisor, supervisor_state

JOBS: list[JobLike] = [
    shadow_run_job,
    verification_matrix_job,
    preflight_job,
    postflight_job,
    halt_job,
    reduce_job,
    resume_job,
    reproduce_job,
    compare_job,
    plan_sweep_job,
    sweep_job,
    sweep_report_job,
]
retention_job, retention_schedule = retention_of(JOBS)

defs = dg.Definitions(
    assets=[
        preflight_healthcheck,
        pragma_verification,
        shadow_run,
        postflight_evidence,
        preflight_check,
        postflight_check,
        supervisor_state,
        verification_matrix,
        sweep_session,
    ],
    jobs=[*JOBS, retention_job],
    schedules=[preflight_schedule, postflight_schedule, matrix_schedule, retention_schedule],
    sensors=[shadow_run_supervisor, postflight_on_failure, notify_failure, notify_recovery, notify_halt],
    resources={"session": session},
)
