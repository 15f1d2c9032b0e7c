"""Jobs on finished sessions: reproduce one, compare several, sweep over parameters (S8)."""

from pathlib import Path
from typing import Any

import dagster as dg

from hybrid_platform.analysis.sources import read_compared_sessions
from hybrid_platform.analysis.sweep import plan_sweep, read_plan, write_plan, write_sweep_report
from hybrid_platform.defs.analysis.assets import SWEEP_POINTS
from hybrid_platform.defs.shared.metadata import build_table
from hybrid_platform.defs.shared.runs import failing_clearly, load_run_settings
from hybrid_platform.evidence.reproduction import ReproductionEvidence, ReproductionVerdict
from hybrid_platform.report.comparison import comparison_folder, write_comparison
from hybrid_platform.report.writer import find_last_session
from hybrid_platform.reproduce.fresh import reproduce_in_sandbox
from hybrid_platform.storage.location import resolve_database_url

_SESSION = dg.Field(
    dg.Noneable(str), is_required=False, default_value=None, description="Session id; null: the last session."
)
_NAME = dg.Field(str, description="The sweep's name.")


@dg.op(
    name="decide_again",
    config_schema={"session_id": _SESSION},
    required_resource_keys={"session"},
    out=dg.Out(dg.Nothing),
)
def reproduce_session(context: dg.OpExecutionContext) -> None:
    """Reproduce a finished session in a fresh process and compare every row; anything but PASS fails."""
    with failing_clearly(context):
        settings, data_dir = load_run_settings(context)
        session_id = context.op_config["session_id"] or find_last_session(data_dir)
        evidence = reproduce_in_sandbox(data_dir, resolve_database_url(settings), session_id, settings.keys.signing_key)
    metadata = _build_reproduction_metadata(session_id, evidence)
    context.add_output_metadata(metadata)
    if evidence.verdict is not ReproductionVerdict.PASS:
        reasons = "; ".join(evidence.reasons)
        raise dg.Failure(description=f"{evidence.verdict}: {reasons}", metadata=metadata, allow_retries=False)


def _build_reproduction_metadata(session_id: str, evidence: ReproductionEvidence) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "verdict": evidence.verdict.value,
        "ticks_shown": evidence.shown,
        "ticks_dropped": evidence.dropped,
        "ticks_missing": evidence.missing,
        "rows_compared": sum(each.compared for each in evidence.tables),
        "rows_differing": sum(each.differing for each in evidence.tables),
        "tables": build_table(
            ("table", "recorded", "reproduced", "differing", "SHA-256"),
            [(t.name, t.recorded, t.reproduced, t.differing, t.reproduced_sha256) for t in evidence.tables],
        ),
    }


@dg.job(name="reproduce", executor_def=dg.in_process_executor)
def reproduce_job() -> None:
    """Do the same ticks and inputs lead to the same decisions again?"""
    reproduce_session()


@dg.op(
    name="put_side_by_side",
    config_schema={"sessions": dg.Field([str], description="Ids, data directories or evidence directories.")},
    required_resource_keys={"session"},
    out=dg.Out(dg.Nothing),
)
def compare_sessions(context: dg.OpExecutionContext) -> None:
    """Compare two or more finished sessions."""
    with failing_clearly(context):
        settings, data_dir = load_run_settings(context)
        compared = read_compared_sessions(settings, context.op_config["sessions"])
        title = "Comparison of " + ", ".join(each.session.session_id for each in compared)
        report = write_comparison(data_dir, comparison_folder(compared), title, compared)
    context.add_output_metadata(_build_report_metadata(report))


@dg.job(name="compare", executor_def=dg.in_process_executor)
def compare_job() -> None:
    """Differences between sessions: settings, counts, measures."""
    compare_sessions()


@dg.op(
    name="make_plan",
    config_schema={
        "name": _NAME,
        "vary": dg.Field(dict, description="Dotted setting: [values …]; all combinations."),
    },
    required_resource_keys={"session"},
    out=dg.Out(dg.Nothing),
)
def plan_sweep_points(context: dg.OpExecutionContext) -> None:
    """Plan a sweep around the session's settings, and add its points as partitions."""
    with failing_clearly(context):
        settings, data_dir = load_run_settings(context)
        plan = plan_sweep(context.op_config["name"], settings, context.op_config["vary"])
        path = write_plan(data_dir, plan)
    keys = [f"{plan.name}:{point.key}" for point in plan.points]
    context.instance.add_dynamic_partitions(str(SWEEP_POINTS.name), keys)
    context.add_output_metadata(
        {"points": len(keys), "partitions": "\n".join(keys), "plan": dg.MetadataValue.path(str(path))}
    )


@dg.job(name="plan_sweep", executor_def=dg.in_process_executor)
def plan_sweep_job() -> None:
    """Add a sweep's partitions; run_configs/sweep.yaml is an example."""
    plan_sweep_points()


sweep_job = dg.define_asset_job(
    "sweep",
    selection=dg.AssetSelection.assets("sweep_session"),
    description="One session for each point of a planned sweep: launch a backfill over its partitions.",
    executor_def=dg.in_process_executor,
)


@dg.op(name="compare_points", config_schema={"name": _NAME}, required_resource_keys={"session"}, out=dg.Out(dg.Nothing))
def compare_sweep_points(context: dg.OpExecutionContext) -> None:
    """Write one report over all points of a sweep that have run."""
    with failing_clearly(context):
        _, data_dir = load_run_settings(context)
        report = write_sweep_report(data_dir, read_plan(data_dir, context.op_config["name"]))
    context.add_output_metadata(_build_report_metadata(report))


@dg.job(name="sweep_report", executor_def=dg.in_process_executor)
def sweep_report_job() -> None:
    """Compare the points of a sweep."""
    compare_sweep_points()


def _build_report_metadata(path: Path) -> dict[str, Any]:
    return {
        "report": dg.MetadataValue.md(path.read_text(encoding="utf-8")),
        "report_file": dg.MetadataValue.path(str(path)),
    }
