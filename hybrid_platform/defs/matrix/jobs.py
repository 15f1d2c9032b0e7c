"""The job `verification_matrix`."""

import dagster as dg

from hybrid_platform.defs.shared.names import MATRIX

verification_matrix_job = dg.define_asset_job(
    MATRIX,
    selection=dg.AssetSelection.assets(MATRIX),
    description="The whole contract, proved: runs every test that bears one of its ids.",
    executor_def=dg.in_process_executor,
)
