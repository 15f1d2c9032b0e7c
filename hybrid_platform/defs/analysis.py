"""What an analyst does with recorded sessions: reproduce one, compare several, sweep over parameters (S8).

A sweep's points are dynamic partitions ``<sweep>:<point>``: `plan_sweep` makes them, a backfill of `sweep`
runs them, `sweep_report` compares what came out.
"""

from typing import Any

import dagster as dg

from hybrid_platform.analysis.sources import read_sides
from hybrid_platform.analysis.sweep import plan_sweep, read_plan, run_point, write_plan, write_sweep_report
from hybrid_platform.defs.runs import failing_clearly
from hybrid_platform.evidence.reproduction import ReproductionVerdict
from hybrid_platform.report.comparison import folder_of, write_comparison
from hybrid_platform.report.markdown import table
from hybrid_platform.report.writer import last_session
from hybrid_platform.reproduce.fresh import reproduce_fresh
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.session import SessionSettings, load_settings
from hybrid_platform.storage.urls import url_of

GROUP = "analysis"
SWEEP_POINTS = dg.DynamicPartitionsDefinition(name="sweep_points")
_SESSION = dg.Field(dg.Noneable(str), is_required=False, default_value=None, description="Its id; null: the last one.")
_NAME = dg.Field(str, description="The sweep's name.")


def _settings(context: Any) -> tuple[SessionSettings, DataDir]:
    settings = load_settings(context.resources.session.stated)
    return settings, DataDir(settings.data_dir)


@dg.op(config_schema={"session_id": _SESSION}, required_resource_keys={"session"}, out=dg.Out(dg.Nothing))
def decide_again(context: dg.OpExecutionContext) -> None:
    """Decide a finished session again in a fresh process, and compare every row; anything but PASS fails."""
    with failing_clearly(context):
        settings, data_dir = _settings(context)
        session_id = context.op_config["session_id"] or last_session(data_dir)
        found = reproduce_fresh(data_dir, url_of(settings), session_id, settings.keys.signing_key)
    shown = {
        "session_id": session_id,
        "verdict": found.verdict.value,
        "ticks_shown": found.shown,
        "ticks_dropped": found.dropped,
        "ticks_missing": found.missing,
        "rows_compared": sum(each.compared for each in found.tables),
        "rows_differing": sum(each.differing for each in found.tables),
        "tables": dg.MetadataValue.md(
            table(
                ("table", "recorded", "reproduced", "differing", "SHA-256"),
                [(t.name, t.recorded, t.reproduced, t.differing, t.reproduced_sha256) for t in found.tables],
            )
        ),
    }
    context.add_output_metadata(shown)
    if found.verdict is not ReproductionVerdict.PASS:
        reasons = "; ".join(found.reasons)
        raise dg.Failure(description=f"{found.verdict}: {reasons}", metadata=shown, allow_retries=False)


@dg.job(name="reproduce", executor_def=dg.in_process_executor)
def reproduce_job() -> None:
    """Do the same ticks and inputs give the same decisions again?"""
    decide_again()


@dg.op(
    config_schema={"sessions": dg.Field([str], description="Ids, data directories or evidence directories.")},
    required_resource_keys={"session"},
    out=dg.Out(dg.Nothing),
)
def put_side_by_side(context: dg.OpExecutionContext) -> None:
    """Compare two or more finished sessions."""
    with failing_clearly(context):
        settings, data_dir = _settings(context)
        sides = read_sides(settings, context.op_config["sessions"])
        title = "Comparison of " + ", ".join(side.session.session_id for side in sides)
        report = write_comparison(data_dir, folder_of(sides), title, sides)
    context.add_output_metadata(_report(report))


@dg.job(name="compare", executor_def=dg.in_process_executor)
def compare_job() -> None:
    """What differs between sessions: settings, counts, measures."""
    put_side_by_side()


@dg.op(
    config_schema={
        "name": _NAME,
        "vary": dg.Field(dict, description="Dotted setting: [values …]; all combinations."),
    },
    required_resource_keys={"session"},
    out=dg.Out(dg.Nothing),
)
def make_plan(context: dg.OpExecutionContext) -> None:
    """Plan a sweep around the session's settings, and add its points as partitions."""
    with failing_clearly(context):
        settings, data_dir = _settings(context)
        plan = plan_sweep(context.op_config["name"], settings, context.op_config["vary"])
        path = write_plan(data_dir, plan)
    keys = [f"{plan.name}:{point.key}" for point in plan.points]
    context.instance.add_dynamic_partitions(str(SWEEP_POINTS.name), keys)
    context.add_output_metadata(
        {"points": len(keys), "partitions": "\n".join(keys), "plan": dg.MetadataValue.path(str(path))}
    )


@dg.job(name="plan_sweep", executor_def=dg.in_process_executor)
def plan_sweep_job() -> None:
    """Make a sweep's partitions; run_configs/sweep.yaml is an example."""
    make_plan()


@dg.asset(group_name=GROUP, partitions_def=SWEEP_POINTS, required_resource_keys={"session"}, kinds={"sqlite"})
def sweep_session(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    """One point of a sweep: a whole session, gates and report included, in a data directory of its own."""
    name, _, key = context.partition_key.partition(":")
    with failing_clearly(context):
        _, data_dir = _settings(context)
        code = run_point(data_dir, read_plan(data_dir, name), key)
    folder = data_dir.root / "sweeps" / name / key
    if code:
        raise dg.Failure(f"{key}: the session ended with exit code {code}; its evidence is below {folder}")
    return dg.MaterializeResult(metadata={"point": key, "data_dir": dg.MetadataValue.path(str(folder))})


sweep_job = dg.define_asset_job(
    "sweep",
    selection=dg.AssetSelection.assets(sweep_session),
    description="One session for each point of a planned sweep: launch a backfill over its partitions.",
    executor_def=dg.in_process_executor,
)


@dg.op(config_schema={"name": _NAME}, required_resource_keys={"session"}, out=dg.Out(dg.Nothing))
def compare_points(context: dg.OpExecutionContext) -> None:
    """Write one report over all points of a sweep that were run."""
    with failing_clearly(context):
        _, data_dir = _settings(context)
        report = write_sweep_report(data_dir, read_plan(data_dir, context.op_config["name"]))
    context.add_output_metadata(_report(report))


@dg.job(name="sweep_report", executor_def=dg.in_process_executor)
def sweep_report_job() -> None:
    """A sweep's points side by side."""
    compare_points()


def _report(path: Any) -> dict[str, Any]:
    return {
        "report": dg.MetadataValue.md(path.read_text(encoding="utf-8")),
        "report_file": dg.MetadataValue.path(str(path)),
    }
