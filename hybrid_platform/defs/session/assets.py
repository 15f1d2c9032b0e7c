"""The gated chain: preflight_healthcheck -> pragma_verification -> shadow_run -> postflight_evidence (G0-G5).

Each asset runs one step of a session and materializes its evidence. The checks of the first two block what follows.
`shadow_run` never raises for an operational failure, so that postflight always runs and judges; postflight's
blocking check then fails the run.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from hybrid_platform.defs.session.checks import (
    HOST_READY,
    PRAGMAS_APPLIED,
    SHADOW_CHECKS,
    VERDICT,
    build_session_checks,
    build_verdict_check,
)
from hybrid_platform.defs.session.progress import ProgressReporter
from hybrid_platform.defs.shared import metadata
from hybrid_platform.defs.shared.dagster_internals import capture_interrupts, pop_captured_interrupt
from hybrid_platform.defs.shared.names import FEEDS, POSTFLIGHT, PRAGMA, PREFLIGHT, SHADOW
from hybrid_platform.defs.shared.runs import DagsterStorageError, dagster_run, tag_exit
from hybrid_platform.evidence.records import SessionEvidence
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.gates.database import verify_database
from hybrid_platform.gates.postflight import postflight
from hybrid_platform.gates.preflight import preflight
from hybrid_platform.run.finalize import finalize_run
from hybrid_platform.run.steps import build_runner
from hybrid_platform.session.outcome import StopReason

GROUP = "shadow_run"
POLL_INTERVAL_S = 0.25


@dg.asset(
    name=PREFLIGHT,
    group_name=GROUP,
    kinds={"linux"},
    required_resource_keys={"session"},
    check_specs=[HOST_READY],
)
def preflight_healthcheck(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
    """Check settings and host before anything starts: healthcheck, CPU pressure (waits for it), LIVE gate (G1, G2)."""
    with dagster_run(context) as run:
        evidence = preflight(run)
        tag_exit(context, evidence, is_last=False)
        yield dg.MaterializeResult(
            metadata=metadata.build_preflight_metadata(run, evidence),
            data_version=metadata.build_data_version(run, evidence),
            check_results=[build_verdict_check(evidence, HOST_READY)],
        )


@dg.asset(
    name=PRAGMA,
    group_name=GROUP,
    kinds={"sqlite"},
    deps=[PREFLIGHT],
    required_resource_keys={"session"},
    check_specs=[PRAGMAS_APPLIED],
)
def pragma_verification(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
    """Migrate the database, apply the PRAGMAs, read them back, and prove that WAL lets a reader read (S1, G3)."""
    with dagster_run(context) as run:
        evidence = verify_database(run)
        tag_exit(context, evidence, is_last=False)
        yield dg.MaterializeResult(
            metadata=metadata.build_pragma_metadata(run, evidence),
            data_version=metadata.build_data_version(run, evidence),
            check_results=[build_verdict_check(evidence, PRAGMAS_APPLIED)],
        )


@dg.op(
    ins={"start": dg.In(dg.Nothing), **{f"feed_{name}": dg.In(dg.Nothing) for name in FEEDS}},
    out={"result": dg.Out(dg.Nothing), **{f"{SHADOW}_{check}": dg.Out(dg.Nothing) for check in SHADOW_CHECKS}},
    required_resource_keys={"session"},
)
def stream_pipeline(context: dg.OpExecutionContext) -> Iterator[Any]:
    """Run the pipeline until the feed ends, the time limit is reached or a stop is requested; yield the outcome."""
    with dagster_run(context) as run:
        evidence = _run_session(context, run)
        try:
            tag_exit(context, evidence, is_last=False)
        except DagsterStorageError:
            # Dagster cannot start the next step, so the session is judged here, before its run fails.
            postflight(run)
            finalize_run(run)
            raise
        yield from build_session_checks(evidence)
        _report_tables(context, run, evidence)
        context.set_data_version(dg.AssetKey(SHADOW), metadata.build_data_version(run, evidence))
        yield dg.Output(None, "result", metadata=metadata.build_session_metadata(run, evidence))


def _report_tables(context: dg.OpExecutionContext, run: RunContext, evidence: SessionEvidence) -> None:
    """Report which tables of the database the session added rows to."""
    try:
        for materialization in metadata.build_table_materializations(run, evidence):
            context.log_event(materialization)
    except Exception as error:
        # A locked or lost storage of Dagster is not a reason to end a run that is yet to be judged.
        run.log.warning("tables not shown in Dagster", error=f"{type(error).__name__}: {error}")


def _run_session(context: dg.OpExecutionContext, run: RunContext) -> SessionEvidence:
    """Run the session from its start to its evidence; an interrupt drains it (S13).

    Dagster raises its interrupt as an exception. Raised while the session starts or closes, it would leave the session
    RUNNING. It is therefore captured, and becomes a request to stop.
    """
    with capture_interrupts():
        shadow = build_runner(run)
        shadow.start()
        reporter = ProgressReporter(context, shadow, run.log)
        while not shadow.wait(POLL_INTERVAL_S):
            if pop_captured_interrupt():
                shadow.request_stop(StopReason.TERMINATED)
            reporter.report_if_due()
        return shadow.finish()


@dg.graph(out={"result": dg.GraphOut(), **{f"{SHADOW}_{check}": dg.GraphOut() for check in SHADOW_CHECKS}})
def shadow_pipeline(start: Any, feed_synthetic: Any, feed_replay: Any, feed_websocket: Any) -> Any:
    """Run the streaming pipeline as one op. Its name differs from the job's and the asset's: they share a namespace."""
    outputs = stream_pipeline(
        start=start, feed_synthetic=feed_synthetic, feed_replay=feed_replay, feed_websocket=feed_websocket
    )
    return {name: getattr(outputs, name) for name in ("result", *(f"{SHADOW}_{check}" for check in SHADOW_CHECKS))}


shadow_run = dg.AssetsDefinition.from_graph(
    shadow_pipeline,
    keys_by_input_name={"start": dg.AssetKey(PRAGMA), **{f"feed_{name}": key for name, key in FEEDS.items()}},
    keys_by_output_name={"result": dg.AssetKey(SHADOW)},
    group_name=GROUP,
    tags_by_output_name={"result": {"dagster/kind/python": ""}},
    descriptions_by_output_name={
        "result": "The strategy on the feed, deciding as if live while nothing leaves the process: ticks, signals, "
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
    check_specs=[VERDICT],
)
def postflight_evidence(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
    """Check the host again, recount the database, judge all evidence and write the report (G1, G2, G5)."""
    with dagster_run(context) as run:
        with capture_interrupts():  # a second interrupt must not cost the evidence of the first
            evidence = postflight(run)
            finalized = finalize_run(run)
        tag_exit(context, evidence, is_last=True)
        yield dg.MaterializeResult(
            metadata=metadata.build_postflight_metadata(run, evidence, finalized.seal, finalized.measures),
            data_version=dg.DataVersion(finalized.seal.sha256),
            check_results=[build_verdict_check(evidence, VERDICT)],
        )
