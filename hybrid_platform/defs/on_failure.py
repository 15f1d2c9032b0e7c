"""The sensor `postflight_on_failure`: looks at the host after a shadow run that failed, however it ended (G1).

A run that breaks off has no postflight of its own. On from the start: it only looks, and writes to
evidence/checks, and whoever needs what it saw had no time to switch it on.
"""

import dagster as dg

from hybrid_platform.defs.jobs import postflight_job, shadow_run_job

FAILED_RUN_TAG = "hybrid_platform/failed_run"


@dg.run_failure_sensor(
    name="postflight_on_failure",
    monitored_jobs=[shadow_run_job],
    request_job=postflight_job,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Runs the job postflight, with the same settings, after each shadow_run that failed or was given up.",
)
def postflight_on_failure(context: dg.RunFailureSensorContext) -> dg.RunRequest:
    """Ask for a postflight of a failed run, once."""
    failed = context.dagster_run
    return dg.RunRequest(
        run_key=failed.run_id,
        run_config={"resources": failed.run_config.get("resources", {})},
        tags={FAILED_RUN_TAG: failed.run_id},
    )
