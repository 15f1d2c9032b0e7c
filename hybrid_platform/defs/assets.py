"""The gated DAG: preflight_healthcheck -> pragma_verification -> shadow_run -> postflight_evidence (G0-G5).

Each asset does one step of `pipeline` and materialises its evidence. The first two stop what follows
by a blocking check. `shadow_run` never raises for an operational failure, so that postflight always
runs and judges; postflight's blocking check then fails the run.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster._utils.interrupts import capture_interrupts, pop_captured_interrupt

from hybrid_platform.defs import metadata
from hybrid_platform.defs.progress import ProgressReporter
from hybrid_platform.defs.runs import DagsterStorageError, dagster_run, tag_exit
from hybrid_platform.domain.records import Verdict
from hybrid_platform.evidence.records import Evidence, SessionEvidence
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.gates.postflight import postflight
from hybrid_platform.gates.preflight import preflight, verify_database
from hybrid_platform.report.writer import conclude
from hybrid_platform.session.pipeline import StopReason
from hybrid_platform.session.runner import ShadowRun

GROUP = "shadow_run"
WAIT_SECONDS = 0.25
PREFLIGHT, PRAGMA, SHADOW, POSTFLIGHT = (
    "preflight_healthcheck",
    "pragma_verification",
    "shadow_run",
    "postflight_evidence",
)
SHADOW_CHECKS = {
    "session_complete": "The session drained and ended COMPLETE, exit code 0.",
    "ledger_balances": "Every event of every channel, and every row of every table, is accounted for.",
    "heartbeats_on_time": "No heartbeat late, none missing (G4).",
    "nothing_lost": "No persist error, and nothing dropped on any channel.",
}


def _judged(evidence: Evidence, check: str, shown: dict[str, Any]) -> Iterator[dg.MaterializeResult[Any]]:
    yield dg.MaterializeResult(
        metadata=shown,
        check_results=[
            dg.AssetCheckResult(
                check_name=check,
                passed=evidence.verdict is Verdict.PASS,
                description="; ".join(evidence.reasons) or "PASS",
                metadata={"exit_code": evidence.exit_code},
            )
        ],
    )


@dg.asset(
    name=PREFLIGHT,
    group_name=GROUP,
    kinds={"linux"},
    required_resource_keys={"session"},
    check_specs=[
        dg.AssetCheckSpec(
            "host_ready", asset=PREFLIGHT, blocking=True, description="Healthcheck, CPU pressure, LIVE gate."
        )
    ],
)
def preflight_healthcheck(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
    """Check settings and host before anything starts: healthcheck, CPU pressure (waits for it), LIVE gate (G1, G2)."""
    with dagster_run(context) as run:
        evidence = preflight(run)
        tag_exit(context, evidence, is_last=False)
        yield from _judged(evidence, "host_ready", metadata.of_preflight(run, evidence))


@dg.asset(
    name=PRAGMA,
    group_name=GROUP,
    kinds={"sqlite"},
    deps=[PREFLIGHT],
    required_resource_keys={"session"},
    check_specs=[
        dg.AssetCheckSpec(
            "pragmas_applied", asset=PRAGMA, blocking=True, description="Read back on writing and reading connections."
        )
    ],
)
def pragma_verification(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
    """Migrate the database, apply the PRAGMAs, read them back, and prove that WAL lets a reader read (S1, G3)."""
    with dagster_run(context) as run:
        evidence = verify_database(run)
        tag_exit(context, evidence, is_last=False)
        yield from _judged(evidence, "pragmas_applied", metadata.of_pragma(run, evidence))


@dg.op(
    ins={"start": dg.In(dg.Nothing)},
    out={"result": dg.Out(dg.Nothing), **{f"{SHADOW}_{check}": dg.Out(dg.Nothing) for check in SHADOW_CHECKS}},
    required_resource_keys={"session"},
)
def stream_pipeline(context: dg.OpExecutionContext) -> Iterator[Any]:
    """Run the pipeline until the feed ends, time is up, or somebody stops it; then yield what became of it."""
    with dagster_run(context) as run:
        evidence = _session(context, run)
        try:
            tag_exit(context, evidence, is_last=False)
        except DagsterStorageError:
            # Dagster cannot go on to the next step: the session is judged here, before its run fails.
            postflight(run)
            conclude(run)
            raise
        counters = evidence.counters
        drops = sum(channel.dropped for channel in evidence.channels)
        passed = {
            "session_complete": evidence.exit_code == 0,
            "ledger_balances": evidence.ledger.balances,
            "heartbeats_on_time": not evidence.heartbeats.late and not evidence.heartbeats.missing,
            "nothing_lost": not drops and not counters["persist_errors"],
        }
        described = {
            "session_complete": f"{evidence.state}, exit code {evidence.exit_code}, {evidence.exit_reason}",
            "ledger_balances": "; ".join(evidence.ledger.faults) or "balanced",
            "heartbeats_on_time": f"{evidence.heartbeats.late} late, {evidence.heartbeats.missing} missing",
            "nothing_lost": f"{drops} dropped, {counters['persist_errors']} persist errors",
        }
        if not evidence.began:
            passed = dict.fromkeys(passed, False)
            described = dict.fromkeys(described, f"the session did not begin: {evidence.failure}")
        for check, ok in passed.items():
            yield dg.AssetCheckResult(
                asset_key=dg.AssetKey(SHADOW), check_name=check, passed=ok, description=described[check]
            )
        yield dg.Output(None, "result", metadata=metadata.of_session(run, evidence))


def _session(context: dg.OpExecutionContext, run: RunContext) -> SessionEvidence:
    """Run the session from its start to its evidence; whatever interrupts, it drains and ends whole (S13).

    Raised as an exception, Dagster's interrupt could hit while the session starts or is being closed, and
    leave it RUNNING: so it is captured here, by Dagster's own means, and asked for.
    """
    with capture_interrupts():
        shadow = ShadowRun(run)
        reporter = ProgressReporter(context, shadow, run.log)
        while not shadow.wait(WAIT_SECONDS):
            if pop_captured_interrupt():
                shadow.request_stop(StopReason.TERMINATED)
            reporter.look()
        return shadow.finish()


@dg.graph(out={"result": dg.GraphOut(), **{f"{SHADOW}_{check}": dg.GraphOut() for check in SHADOW_CHECKS}})
def shadow_pipeline(start: Any) -> Any:
    """The streaming pipeline as one op; named unlike the job and the asset, which share a namespace with it."""
    outputs = stream_pipeline(start)
    return {name: getattr(outputs, name) for name in ("result", *(f"{SHADOW}_{check}" for check in SHADOW_CHECKS))}


shadow_run = dg.AssetsDefinition.from_graph(
    shadow_pipeline,
    keys_by_input_name={"start": dg.AssetKey(PRAGMA)},
    keys_by_output_name={"result": dg.AssetKey(SHADOW)},
    group_name=GROUP,
    descriptions_by_output_name={
        "result": "The strategy on the feed, decided as if live, with nothing leaving the process: ticks, signals, "
        "vetoes, orders and trades, all persisted, every event accounted for (S2-S13, I1-I6)."
    },
    check_specs=[
        dg.AssetCheckSpec(name, asset=SHADOW, description=description) for name, description in SHADOW_CHECKS.items()
    ],
)


@dg.asset(
    name=POSTFLIGHT,
    group_name=GROUP,
    kinds={"markdown"},
    deps=[SHADOW],
    required_resource_keys={"session"},
    check_specs=[
        dg.AssetCheckSpec(
            "verdict", asset=POSTFLIGHT, blocking=True, description="Every gate passed, every figure proves it."
        )
    ],
)
def postflight_evidence(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
    """Check the host again, recount the database, judge all evidence and write the report (G1, G2, G5)."""
    with dagster_run(context) as run:
        with capture_interrupts():  # a second interrupt must not cost the evidence of the first
            evidence = postflight(run)
            concluded = conclude(run)
        tag_exit(context, evidence, is_last=True)
        yield from _judged(evidence, "verdict", metadata.of_postflight(run, evidence, concluded))
