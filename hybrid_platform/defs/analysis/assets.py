"""The points of a parameter sweep: one session for each dynamic partition ``<sweep>:<point>``.

The job `plan_sweep` adds the partitions, a backfill of the job `sweep` runs them, `sweep_report` compares the results.
"""

from typing import Any

import dagster as dg

from hybrid_platform.analysis.sweep import read_plan, run_point
from hybrid_platform.defs.shared.runs import failing_clearly, load_run_settings

GROUP = "analysis"
SWEEP_POINTS = dg.DynamicPartitionsDefinition(name="sweep_points")


@dg.asset(group_name=GROUP, partitions_def=SWEEP_POINTS, required_resource_keys={"session"}, kinds={"sqlite"})
def sweep_session(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    """One point of a sweep: a whole session, gates and report included, in a separate data directory."""
    name, _, key = context.partition_key.partition(":")
    with failing_clearly(context):
        _, data_dir = load_run_settings(context)
        code = run_point(data_dir, read_plan(data_dir, name), key)
    folder = data_dir.root / "sweeps" / name / key
    if code:
        raise dg.Failure(f"{key}: the session ended with exit code {code}; its evidence is below {folder}")
    return dg.MaterializeResult(metadata={"point": key, "data_dir": dg.MetadataValue.path(str(folder))})
