"""The analyst's jobs through Dagster: reproduce, compare, and a sweep from its plan to its report."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from hybrid_platform_tests.definitions import defs
from hybrid_platform_tests.recording import Recorder, make_ticks, random_walk

SETTINGS = {"feed": {"synthetic": {"ticks_per_second": "max", "ticks": 60}}, "gates": {"cpu_pressure_limit": 100}}


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    return Recorder(tmp_path_factory.mktemp("jobs") / "data")


def run(name: str, data_dir: Path, op: str = "", config: dict | None = None, **options) -> dg.ExecuteInProcessResult:
    ops = {"ops": {op: {"config": config}}} if op else {}
    settings = {"session": {"config": {**SETTINGS, "data_dir": str(data_dir)}}}
    job = defs.resolve_job_def(name)
    return job.execute_in_process(run_config={**ops, "resources": settings}, raise_on_error=False, **options)


def said(result: dg.ExecuteInProcessResult, op: str) -> dict[str, object]:
    (event,) = [each for each in result.events_for_node(op) if each.is_successful_output]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


@pytest.mark.scenario("S8")
def test_reproduce_fails_for_a_tampered_session(recorder):
    sound, tampered = (recorder.record(recorder.settings(), make_ticks(random_walk())).session_id for _ in range(2))
    passed = run("reproduce", recorder.folder, "decide_again", {"session_id": sound})
    assert passed.success
    assert said(passed, "decide_again")["verdict"] == "PASS"
    number = "session_no = (SELECT session_no FROM sessions WHERE session_id = :id)"
    recorder.tamper(f"UPDATE trade_rows SET fees = '0' WHERE {number} AND n = 1", id=tampered)
    failed = run("reproduce", recorder.folder, "decide_again", {"session_id": tampered})
    assert not failed.success
    assert "trades n=1" in failed.failure_data_for_node("decide_again").user_failure_data.description


def test_the_job_compares_sessions(recorder):
    ids = [recorder.record(recorder.settings(), make_ticks(random_walk())).session_id for _ in range(2)]
    result = run("compare", recorder.folder, "put_side_by_side", {"sessions": ids})
    assert result.success
    assert "## Results" in said(result, "put_side_by_side")["report"]


@pytest.mark.timeout(300)
def test_a_sweep_runs_as_partitions_with_one_report(tmp_path):
    """Each point has its own data directory."""
    plan = {"name": "p", "vary": {"strategy.params.every": [10, 20]}}
    with dg.DagsterInstance.ephemeral() as instance:
        assert run("plan_sweep", tmp_path, "make_plan", plan, instance=instance).success
        keys = instance.get_dynamic_partitions("sweep_points")
        assert sorted(keys) == ["p:every=10", "p:every=20"]
        for key in keys:
            assert run("sweep", tmp_path, partition_key=key, instance=instance).success
        result = run("sweep_report", tmp_path, "compare_points", {"name": "p"}, instance=instance)
    assert result.success
    assert sorted(path.parent.name for path in tmp_path.glob("sweeps/p/*/bot.db")) == ["every=10", "every=20"]
    report = said(result, "compare_points")["report"]
    assert "2 of 2 points" in report
    assert "strategy.params.every" in report


def test_a_wrong_plan_is_one_clear_failure(tmp_path):
    result = run("plan_sweep", tmp_path, "make_plan", {"name": "p", "vary": {"secnds": [1]}})
    assert not result.success
    assert "did you mean `seconds`" in result.failure_data_for_node("make_plan").user_failure_data.description
