"""The jobs: the whole shadow run, and the two checks that also run alone and on schedules.

A check's asset says when it was last made: its freshness policy turns red where nobody looks any more.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from hybrid_platform.defs.assets import POSTFLIGHT, PRAGMA, PREFLIGHT, SHADOW
from hybrid_platform.defs.runs import dagster_run, tag_exit
from hybrid_platform.evidence.files import check_evidence_name
from hybrid_platform.gates.host_checks import run_check

shadow_run_job = dg.define_asset_job(
    SHADOW,
    selection=dg.AssetSelection.assets(PREFLIGHT, PRAGMA, SHADOW, POSTFLIGHT),
    description="Preflight, PRAGMA verification, the shadow run, postflight evidence. With nothing configured: the "
    "reference run, 30 seconds of the synthetic feed.",
    # One process: a SIGTERM then drains the op, and postflight still runs (and it starts seconds sooner).
    executor_def=dg.in_process_executor,
)


CHECKS_GROUP = "checks"
PREFLIGHT_JOB, POSTFLIGHT_JOB = "preflight", "postflight"
PREFLIGHT_CHECK, POSTFLIGHT_CHECK = "preflight_check", "postflight_check"


def _check(context: dg.AssetExecutionContext, kind: str) -> Iterator[dg.MaterializeResult[Any]]:
    with dagster_run(context) as run:
        evidence = run_check(run, kind)
        tag_exit(context, evidence, is_last=True)
    passed = not evidence.reasons
    yield dg.MaterializeResult(
        metadata={
            "verdict": evidence.verdict.value,
            "reasons": "; ".join(evidence.reasons) or "none",
            **evidence.summary,
            "evidence": dg.MetadataValue.path(str(run.data_dir.root / check_evidence_name(run.session_id, kind))),
        },
        check_results=[
            dg.AssetCheckResult(check_name="passed", passed=passed, description="; ".join(evidence.reasons) or "PASS")
        ],
    )


@dg.asset(
    name=PREFLIGHT_CHECK,
    group_name=CHECKS_GROUP,
    kinds={"linux"},
    required_resource_keys={"session"},
    freshness_policy=dg.FreshnessPolicy.time_window(
        fail_window=timedelta(minutes=45), warn_window=timedelta(minutes=20)
    ),
    check_specs=[
        dg.AssetCheckSpec("passed", asset=PREFLIGHT_CHECK, blocking=True, description="The host is fit for a session.")
    ],
)
def preflight_check(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
    """Healthcheck and CPU pressure, as before a session; writes to evidence/checks."""
    yield from _check(context, "preflight")


@dg.asset(
    name=POSTFLIGHT_CHECK,
    group_name=CHECKS_GROUP,
    kinds={"linux"},
    required_resource_keys={"session"},
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=25)),
    check_specs=[
        dg.AssetCheckSpec(
            "passed", asset=POSTFLIGHT_CHECK, blocking=True, description="The host is fit, the last session complete."
        )
    ],
)
def postflight_check(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
    """Healthcheck, CPU pressure and the last session's verdict; writes to evidence/checks."""
    yield from _check(context, "postflight")


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
