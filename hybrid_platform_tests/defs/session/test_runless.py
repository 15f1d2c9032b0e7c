"""Sessions that the command line ran, in the UI: reported to the instance of DAGSTER_HOME after the seal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import dagster as dg
import pytest

from hybrid_platform.defs.session.runless import StoredSession, build_events
from hybrid_platform.security.paths import DataDir
from hybrid_platform_tests.support import REPOSITORY, Artifacts, run_cli, run_in_process, synthetic_feed

SHORT = {"isolation": "thread", **synthetic_feed("max", ticks=61)}
STEPS = ["preflight_healthcheck", "pragma_verification", "shadow_run", "postflight_evidence"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the repository's dagster.yaml, whose relative paths are below it."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(REPOSITORY / "dagster.yaml", folder)
    monkeypatch.chdir(folder)
    return folder


def test_a_session_is_reported_with_its_checks_and_tables(tmp_path: Path, home: Path):
    ended = run_cli(tmp_path, "shadow-run", settings=SHORT, DAGSTER_HOME=str(home))
    assert ended.code == 0, ended.text
    assert "not reported" not in ended.err
    artifacts = Artifacts(tmp_path / "data")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for name in STEPS:
            (record,) = instance.fetch_materializations(dg.AssetKey(name), limit=5).records
            assert record.asset_materialization is not None
            assert record.asset_materialization.metadata["session_id"].value == artifacts.session_id
            digest = json.loads((artifacts.data_dir / "evidence" / artifacts.session_id / "session.json").read_text())[
                "code"
            ]
            assert record.asset_materialization.tags["dagster/code_version"] == digest["sha256"]
        (ticks,) = instance.fetch_materializations(dg.AssetKey(["database", "ticks"]), limit=5).records
        assert ticks.asset_materialization is not None
        assert ticks.asset_materialization.metadata["dagster/row_count"].value == 61
        verdict = dg.AssetCheckKey(dg.AssetKey("postflight_evidence"), "verdict")
        (checked,) = instance.event_log_storage.get_latest_asset_check_execution_by_key([verdict]).values()
        assert checked.event is not None
        assert checked.event.dagster_event.asset_check_evaluation_data.passed


def test_a_report_that_fails_is_one_line_and_leaves_the_exit_code(tmp_path: Path):
    ended = run_cli(tmp_path, "shadow-run", settings=SHORT, DAGSTER_HOME=str(tmp_path / "missing"))
    assert ended.code == 0
    (line,) = [line for line in ended.err.splitlines() if "Dagster" in line]
    assert line.startswith("session not reported to Dagster: FileNotFoundError")


def test_an_instance_that_cannot_be_opened_is_one_line_as_well(tmp_path: Path, home: Path):
    (home / "dagster.yaml").write_text("storage: nonsense\n")
    ended = run_cli(tmp_path, "shadow-run", settings=SHORT, DAGSTER_HOME=str(home))
    assert ended.code == 0
    assert sum("session not reported to Dagster: " in line for line in ended.err.splitlines()) == 1


def test_only_the_steps_that_left_evidence_are_reported(tmp_path: Path):
    run = run_in_process(tmp_path / "data", SHORT, {"gates": {"cpu_pressure_limit": 0, "pressure_wait_seconds": 0}})
    session = StoredSession(DataDir(run.data_dir), run.session_id, f"sqlite:///{run.database}")
    materialization, check = build_events(session)
    assert isinstance(materialization, dg.AssetMaterialization)
    assert materialization.asset_key == dg.AssetKey("preflight_healthcheck")
    assert isinstance(check, dg.AssetCheckEvaluation)
    assert (check.check_name, check.passed) == ("host_ready", False)
