"""The job `shadow_run`: the four assets of a session in order."""

import dagster as dg

from hybrid_platform.defs.shared.names import POSTFLIGHT, PRAGMA, PREFLIGHT, SHADOW

shadow_run_job = dg.define_asset_job(
    SHADOW,
    selection=dg.AssetSelection.assets(PREFLIGHT, PRAGMA, SHADOW, POSTFLIGHT),
    description="Preflight, PRAGMA verification, the shadow run, postflight evidence. With nothing configured: the "
    "reference run, 30 seconds of the synthetic feed.",
    # In one process a SIGTERM drains the op and postflight still runs; it also starts seconds sooner.
    executor_def=dg.in_process_executor,
)
