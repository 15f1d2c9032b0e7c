"""Jobs that run one healthcheck each."""

import dagster as dg

from hybrid_platform.defs.shared.names import POSTFLIGHT_CHECK, POSTFLIGHT_JOB, PREFLIGHT_CHECK, PREFLIGHT_JOB

preflight_job = dg.define_asset_job(
    PREFLIGHT_JOB,
    selection=dg.AssetSelection.assets(PREFLIGHT_CHECK),
    description="Is the host fit for a session now?",
    executor_def=dg.in_process_executor,
)
postflight_job = dg.define_asset_job(
    POSTFLIGHT_JOB,
    selection=dg.AssetSelection.assets(POSTFLIGHT_CHECK),
    description="Is the host still fit, and how did the last session end?",
    executor_def=dg.in_process_executor,
)
