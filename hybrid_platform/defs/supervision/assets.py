"""The asset `supervisor`: the state of the supervised session."""

import dagster as dg

from hybrid_platform.defs.shared.names import SHADOW

NAME = "shadow_run_supervisor"
ASSET = "supervisor"

supervisor_state = dg.AssetSpec(
    ASSET,
    group_name=SHADOW,
    kinds={"json"},
    description=f"State of the supervised session: reported by the sensor `{NAME}` whenever it changes.",
)
