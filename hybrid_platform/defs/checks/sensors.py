"""The sensor `postflight_on_failure`: runs the job `postflight` after a shadow run that failed, however it ended (G1).

A run that crashes has no postflight. The sensor is on by default: it only reads, writes to evidence/checks, and by the
time its findings are needed it is too late to turn it on.
"""

import dagster as dg

from hybrid_platform.defs.checks.jobs import postflight_job
from hybrid_platform.defs.session.jobs import shadow_run_job

FAILED_RUN_TAG = "hybrid_platform/failed_run"


@dg.run_failure_sensor(
    name="postflight_on_failure",
    monitored_jobs=[shadow_run_job],
    request_job=postflight_job,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Runs the job postflight, with the same settings, after each shadow_run that failed or was abandoned.",
)
def postflight_on_failure(context: dg.RunFailureSensorContext) -> dg.RunRequest:
    """Request a postflight of a failed run, once."""
    failed = context.dagster_run
    return dg.RunRequest(
        run_key=failed.run_id,
        run_config={"resources": failed.run_config.get("resources", {})},
        tags={FAILED_RUN_TAG: failed.run_id},
    )
