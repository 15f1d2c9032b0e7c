"""Every name that users and their scripts see in Dagster, so that an accidental rename fails here."""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
import yaml

import hybrid_platform
from hybrid_platform.defs.feeds.assets import VENUES
from hybrid_platform.defs.shared.names import PLATFORM_JOBS
from hybrid_platform.evidence.code_digest import tree_sha256
from hybrid_platform.storage.views import PUBLIC_TABLES
from hybrid_platform_tests.definitions import defs
from hybrid_platform_tests.support import PROCESS_TIMEOUT_S, REPOSITORY, child_environment

GATED = ["preflight_healthcheck", "pragma_verification", "shadow_run", "postflight_evidence"]
NAMES = {
    "assets": {
        *GATED,
        "verification_matrix",
        "sweep_session",
        "preflight_check",
        "postflight_check",
        "supervisor",
        *(f"feed/{name}" for name in ("synthetic", "replay", "websocket")),
        *(f"venue/{name}" for name in VENUES),
        *(f"database/{name}" for name in PUBLIC_TABLES),
    },
    "checks": {
        "preflight_healthcheck:host_ready",
        "pragma_verification:pragmas_applied",
        "shadow_run:session_complete",
        "shadow_run:ledger_balances",
        "shadow_run:heartbeats_on_time",
        "shadow_run:nothing_lost",
        "postflight_evidence:verdict",
        "verification_matrix:contract_proved",
        "preflight_check:passed",
        "postflight_check:passed",
    },
    "jobs": {
        "shadow_run",
        "preflight",
        "postflight",
        "halt_trading",
        "reduce_trading",
        "resume_trading",
        "verification_matrix",
        "reproduce",
        "compare",
        "plan_sweep",
        "sweep",
        "sweep_report",
        "retention",
    },
    "schedules": {"preflight_every_15_minutes", "postflight_daily", "verification_matrix_weekly", "retention_daily"},
    "sensors": {
        "shadow_run_supervisor",
        "postflight_on_failure",
        "notify_failure",
        "notify_recovery",
        "notify_halt",
    },
    "resources": {"session", "io_manager"},
}
"""Change an intentionally renamed name here and in CHANGELOG.md, because scripts and schedules rely on it."""


@pytest.fixture(scope="module")
def repository() -> dg.RepositoryDefinition:
    return defs.get_repository_def()


def found(repository: dg.RepositoryDefinition, kind: str) -> set[str]:
    if kind == "assets":
        return {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    if kind == "checks":
        keys = repository.asset_graph.asset_check_keys
        return {f"{key.asset_key.to_user_string()}:{key.name}" for key in keys}
    if kind == "jobs":
        return {name for name in repository.job_names if not name.startswith("__")}
    if kind == "schedules":
        return {schedule.name for schedule in repository.schedule_defs}
    if kind == "sensors":
        return {sensor.name for sensor in repository.sensor_defs}
    return set(repository.get_top_level_resources()) | {"io_manager"}


def check_specs(repository: dg.RepositoryDefinition) -> list[dg.AssetCheckSpec]:
    return [spec for assets in set(repository.assets_defs_by_key.values()) for spec in assets.check_specs]


def test_the_definitions_are_loadable():
    dg.Definitions.validate_loadable(defs)


@pytest.mark.parametrize("kind", NAMES)
def test_nothing_was_renamed_by_accident(repository: dg.RepositoryDefinition, kind: str):
    assert found(repository, kind) == NAMES[kind]


def test_the_four_assets_are_one_gated_chain(repository: dg.RepositoryDefinition):
    graph = repository.asset_graph
    for before, after in pairwise(GATED):
        parents = {key.to_user_string() for key in graph.get(dg.AssetKey(after)).parent_keys}
        assert {name for name in parents if not name.startswith("feed/")} == {before}
    job = repository.get_job("shadow_run")
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == set(GATED)


def test_the_lineage_leads_from_an_exchange_to_a_trade(repository: dg.RepositoryDefinition):
    path = ["venue/binance", "feed/websocket", "shadow_run", "database/ticks", "database/signals", "database/orders",
            "database/trades"]  # fmt: skip
    for before, after in pairwise(path):
        parents = repository.asset_graph.get(dg.AssetKey(after.split("/"))).parent_keys
        assert dg.AssetKey(before.split("/")) in parents, after


def test_every_table_shows_its_columns(repository: dg.RepositoryDefinition):
    for name, table in PUBLIC_TABLES.items():
        metadata = repository.asset_graph.get(dg.AssetKey(["database", name])).metadata
        columns = [column.name for column in metadata["dagster/column_schema"].columns]
        assert columns == [column.name for column in table.columns]


def test_executable_assets_have_code_version_and_reference(repository: dg.RepositoryDefinition):
    graph = repository.asset_graph
    digest = tree_sha256(Path(hybrid_platform.__file__).parent)
    assert len(graph.executable_asset_keys) == 8
    for key in graph.executable_asset_keys:
        assert graph.get(key).code_version == digest
        (reference,) = graph.get(key).metadata["dagster/code_references"].code_references
        assert Path(reference.file_path).is_file()


@pytest.mark.scenario("G1", "G3")
def test_gates_and_verdict_block_but_session_checks_do_not(repository: dg.RepositoryDefinition):
    blocking = {spec.name for spec in check_specs(repository) if spec.blocking}
    assert blocking >= {"host_ready", "pragmas_applied", "verdict"}
    assert not blocking & {"session_complete", "ledger_balances", "heartbeats_on_time", "nothing_lost"}


@pytest.mark.scenario("S13")
def test_every_job_runs_in_one_process(repository: dg.RepositoryDefinition):
    """A SIGTERM then still reaches postflight."""
    for name in NAMES["jobs"] - {"verification_matrix"}:
        assert repository.get_job(name).executor_def is dg.in_process_executor, name


def test_schedules_start_switched_off(repository: dg.RepositoryDefinition):
    crons = {}
    for schedule in repository.schedule_defs:
        assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
        assert schedule.execution_timezone == "UTC"
        crons[schedule.name] = (schedule.cron_schedule, schedule.job_name)
    assert crons["preflight_every_15_minutes"] == ("*/15 * * * *", "preflight")
    assert crons["postflight_daily"] == ("5 0 * * *", "postflight")
    assert crons["verification_matrix_weekly"] == ("30 3 * * 0", "verification_matrix")


def test_scheduled_assets_turn_stale_if_their_schedule_stops(repository: dg.RepositoryDefinition):
    """The window is longer than the schedule's interval, and shorter than three of them."""
    hours = {"preflight_check": 0.25, "postflight_check": 24, "verification_matrix": 7 * 24}
    for name, interval in hours.items():
        policy = repository.asset_graph.get(dg.AssetKey(name)).freshness_policy
        assert policy is not None, name
        window = policy.fail_window.to_timedelta().total_seconds() / 3600
        assert interval < window <= 3 * interval, name


def test_default_status_of_supervisor_and_failure_sensor(
    repository: dg.RepositoryDefinition,
):
    """The supervisor is off by default, the postflight after a failure is on."""
    stands = {sensor.name: sensor.default_status for sensor in repository.sensor_defs}
    assert stands["shadow_run_supervisor"] is dg.DefaultSensorStatus.STOPPED
    assert stands["postflight_on_failure"] is dg.DefaultSensorStatus.RUNNING


def test_every_definition_has_a_description(repository: dg.RepositoryDefinition):
    for name in NAMES["jobs"]:
        assert repository.get_job(name).description, name
    for name in NAMES["assets"]:
        assert repository.asset_graph.get(dg.AssetKey(name.split("/"))).description, name
    for spec in check_specs(repository):
        assert spec.description, spec.name


def test_dagster_validates_the_definitions_of_the_workspace(tmp_path: Path):
    for name in ("workspace.yaml", "dagster.yaml", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    command = [sys.executable, "-m", "dagster", "definitions", "validate"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=child_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=PROCESS_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hybrid_platform" in done.stdout + done.stderr
    (location,) = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())["load_from"]
    assert location["python_module"]["module_name"] == "hybrid_platform.definitions"


def test_the_instance_stores_all_below_the_working_directory():
    settings = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text())
    assert settings["storage"]["sqlite"]["base_dir"].startswith(".dagster")
    assert settings["compute_logs"]["config"]["base_dir"].startswith(".dagster")
    assert settings["telemetry"] == {"enabled": False}


def test_the_platforms_jobs_are_the_ones_that_retention_prunes(repository: dg.RepositoryDefinition):
    assert found(repository, "jobs") == PLATFORM_JOBS


def test_loading_freezes_dagsters_objects():
    """The garbage collector does not walk through them during the remaining imports."""
    assert defs is not None
    assert gc.get_freeze_count() > 50_000
