"""The jobs: the whole shadow run, and the two checks that also run alone and on schedules."""

import dagster as dg

from hybrid_platform.defs.assets import POSTFLIGHT, PRAGMA, PREFLIGHT, SHADOW
from hybrid_platform.defs.runs import dagster_run, tag_exit
from hybrid_platform.pipeline.checks import run_check

shadow_run_job = dg.define_asset_job(
    SHADOW,
    selection=dg.AssetSelection.assets(PREFLIGHT, PRAGMA, SHADOW, POSTFLIGHT),
    description="Preflight, PRAGMA verification, the shadow run, postflight evidence. With nothing configured: the "
    "reference run, 30 seconds of the synthetic feed.",
    # One process: a SIGTERM then drains the op, and postflight still runs (and it starts seconds sooner).
    executor_def=dg.in_process_executor,
)


def _check(context: dg.OpExecutionContext, kind: str) -> None:
    with dagster_run(context) as run:
        evidence = run_check(run, kind)
        tag_exit(context, evidence)
    context.add_output_metadata({"verdict": evidence.verdict.value, **evidence.summary})
    if evidence.reasons:
        raise dg.Failure(description="; ".join(evidence.reasons), metadata=evidence.summary, allow_retries=False)


@dg.op(required_resource_keys={"session"}, out=dg.Out(dg.Nothing))
def check_before(context: dg.OpExecutionContext) -> None:
    """Healthcheck and CPU pressure, as before a session; writes to evidence/checks."""
    _check(context, "preflight")


@dg.op(required_resource_keys={"session"}, out=dg.Out(dg.Nothing))
def check_after(context: dg.OpExecutionContext) -> None:
    """Healthcheck, CPU pressure and the last session's verdict; writes to evidence/checks."""
    _check(context, "postflight")


@dg.job(name="preflight", executor_def=dg.in_process_executor)
def preflight_job() -> None:
    """Is the host fit for a session now?"""
    check_before()


@dg.job(name="postflight", executor_def=dg.in_process_executor)
def postflight_job() -> None:
    """Is the host still fit, and how did the last session end?"""
    check_after()
