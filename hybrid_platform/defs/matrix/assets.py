"""The verification matrix as an asset: the whole contract, proved, for the commit that is checked out (G5)."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from hybrid_platform.analysis.matrix import run_matrix, store_matrix
from hybrid_platform.defs.shared.metadata import build_table
from hybrid_platform.defs.shared.names import MATRIX
from hybrid_platform.defs.shared.runs import dagster_run

_HEADS = ("id", "verdict", "claim", "expected", "actual", "seconds", "proof")


@dg.multi_asset(
    name="run_proofs",  # the job has the asset's name, and one name may stand for one node only
    specs=[
        dg.AssetSpec(
            MATRIX,
            group_name="verification",
            kinds={"pytest"},
            freshness_policy=dg.FreshnessPolicy.time_window(
                fail_window=timedelta(days=14), warn_window=timedelta(days=7, hours=6)
            ),
            description="Scenario by scenario, invariant by invariant, gate by gate: its proof and its outcome.",
        )
    ],
    required_resource_keys={"session"},
    check_specs=[
        dg.AssetCheckSpec("contract_proved", asset=MATRIX, blocking=True, description="Every id has a passing proof.")
    ],
)
def verification_matrix(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
    """Run the tests of each scenario, invariant, gate and prohibition; takes minutes, and needs a checkout."""
    with dagster_run(context) as run:
        matrix = run_matrix(run.code, run.clock)
        page = store_matrix(run.data_dir, matrix, run.settings.keys)
    rows = [
        (r.id, r.verdict.value, r.claim, r.expected, r.actual, f"{r.duration_s:.1f}", r.command) for r in matrix.rows
    ]
    missing = ", ".join((*matrix.faults, *matrix.unproved))
    yield dg.MaterializeResult(
        asset_key=MATRIX,
        metadata={
            "proved": len(matrix.rows) - len(matrix.unproved),
            "unproved": len(matrix.unproved),
            "commit": matrix.commit or "no commit",
            "dirty": matrix.dirty is not False,
            "matrix": build_table(_HEADS, rows),
            "page": dg.MetadataValue.path(str(page)),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="contract_proved", passed=matrix.is_full, description=missing or "every id is proved"
            )
        ],
    )
