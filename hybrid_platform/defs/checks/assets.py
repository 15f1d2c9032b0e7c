"""The healthchecks as separate assets: they also run without a session, on schedules.

A check's freshness policy turns red if its schedule has stopped.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from hybrid_platform.defs.shared.names import POSTFLIGHT_CHECK, PREFLIGHT_CHECK
from hybrid_platform.defs.shared.runs import dagster_run, tag_exit
from hybrid_platform.evidence.files import check_evidence_name
from hybrid_platform.gates.host_checks import run_check

GROUP = "checks"


def _materialize_check(context: dg.AssetExecutionContext, kind: str) -> Iterator[dg.MaterializeResult[Any]]:
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
    group_name=GROUP,
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
    yield from _materialize_check(context, "preflight")


@dg.asset(
    name=POSTFLIGHT_CHECK,
    group_name=GROUP,
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
    yield from _materialize_check(context, "postflight")
