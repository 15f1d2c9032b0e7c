"""The gated assets in one process: which steps a gate stops, and the tags of the run (G1, G2, G3)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec
import pytest

from hybrid_platform.defs.session import assets
from hybrid_platform.defs.shared.names import EXIT_CODE_TAG, PROCESS_TAG, SESSION_TAG
from hybrid_platform.defs.shared.runs import RunProcess
from hybrid_platform.host.process import this_process
from hybrid_platform.session.runner import SessionRunner
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import sqlite_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform_tests.definitions import defs
from hybrid_platform_tests.defs.conftest import Job, Launcher
from hybrid_platform_tests.support import merge_settings, replay_feed, run_config, synthetic_feed, write_csv

STEPS = ["preflight_healthcheck", "pragma_verification", "shadow_run", "postflight_evidence"]
SHORT = {"seconds": 0.1, "isolation": "thread", **synthetic_feed(100)}


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Launcher, Job]]:
    """Return a run that passed every gate, and the launcher for more runs on the same data directory."""
    with dg.DagsterInstance.ephemeral() as instance:
        launcher = Launcher(instance, tmp_path_factory.mktemp("passed"))
        yield launcher, launcher(SHORT)


def test_all_gates_pass_and_the_run_succeeds(passed: tuple[Launcher, Job]):
    _, job = passed
    assert job.result.success
    assert job.materialised == STEPS
    assert all(job.checks.values()) and len(job.checks) == 7
    assert job.tags == {"session_id": job.session_id, "exit_code": "0", "exit_reason": "TIME_LIMIT"}
    process = msgspec.json.decode(job.run.tags[PROCESS_TAG], type=RunProcess)
    assert process == RunProcess(job.run.run_id, this_process()), "in this test the run has no separate process"
    assert job.artifacts.count("ticks", job.session_id) == 11


def test_each_table_with_new_rows_is_materialized(passed: tuple[Launcher, Job]):
    """The materialization has the number of rows."""
    _, job = passed
    assert job.table_rows["ticks"] == 11 and job.table_rows["sessions"] == 1
    assert "vetoes" not in job.table_rows, "nothing was added to it"
    for table, rows in job.table_rows.items():
        if table != "sessions":
            assert rows == job.artifacts.count(table, job.session_id), table


def test_data_versions_are_digests_of_the_evidence(passed: tuple[Launcher, Job]):
    _, job = passed
    folder = job.artifacts.data_dir / "evidence" / job.session_id
    digest = hashlib.sha256((folder / "session.json").read_bytes()).hexdigest()
    assert job.materialization("shadow_run").tags["dagster/data_version"] == digest
    postflight = job.materialization("postflight_evidence")
    assert postflight.tags["dagster/data_version"] == postflight.metadata["bundle_sha256"].value


def test_exit_code_0_only_after_complete_success(launch: Launcher, monkeypatch: pytest.MonkeyPatch):
    """A run killed in the middle would keep the tag forever."""
    during: list[dict[str, str]] = []

    class Looks(SessionRunner):
        """Runner that reads the run's tags when the session ends."""

        def finish(self) -> Any:
            during.extend(dict(run.tags) for run in launch.instance.get_runs())
            return super().finish()

    monkeypatch.setattr(assets, "build_runner", Looks)
    job = launch(SHORT)
    (tags,) = during
    assert SESSION_TAG in tags and EXIT_CODE_TAG not in tags
    assert job.tags["exit_code"] == "0"


@pytest.mark.scenario("G2")
def test_cpu_pressure_stops_the_run_at_preflight(launch: Launcher):
    """The evidence states the reason."""
    job = launch(SHORT, {"gates": {"cpu_pressure_limit": 0}})
    assert not job.result.success
    assert job.materialised == STEPS[:1], "the evidence is shown, and nothing follows"
    assert job.started == STEPS[:1]
    assert job.checks == {"host_ready": False}
    evidence = job.artifacts.evidence("preflight")
    assert evidence["verdict"] == "FAIL"
    assert evidence["reasons"][0].startswith("CPU pressure: ")
    assert evidence["pressure"]["limit"] == 0
    assert not job.artifacts.has_evidence("pragma")
    row = job.artifacts.session
    assert (row["state"], row["exit_code"]) == ("REFUSED", 13)
    assert row["exit_reason"].startswith("CPU pressure: ")
    assert job.tags["exit_code"] == "13"
    assert all(
        job.artifacts.count(table, row["session_id"]) == 0 for table in ("ticks", "signals", "orders", "heartbeats")
    )


@pytest.mark.scenario("S1", "G3")
def test_an_unusable_database_stops_the_run_at_its_gate(launch: Launcher):
    """The database is from a later release, so nothing is migrated and nothing runs."""
    engine = open_engine(sqlite_url(launch.data_dir / "bot.db"), role="write")
    migrate(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    job = launch(SHORT)
    assert not job.result.success
    assert (job.started, job.materialised) == (STEPS[:2], STEPS[:2])
    assert job.checks == {"host_ready": True, "pragmas_applied": False}
    assert "9999, of a newer release" in job.artifacts.evidence("pragma")["reasons"][0]
    assert not job.artifacts.has_evidence("session")
    assert job.tags["exit_code"] == "12"


@pytest.mark.scenario("S14", "G1", "L1")
def test_live_is_refused_with_every_unmet_condition(launch: Launcher):
    job = launch(SHORT, {"mode": "LIVE"})
    assert not job.result.success
    assert job.materialised == STEPS[:1]
    reasons = job.artifacts.evidence("preflight")["reasons"]
    assert [word for word in ("live_armed", "bundle", "adapter") if not any(word in reason for reason in reasons)] == []
    assert all(reason.startswith("LIVE refused: ") for reason in reasons)
    assert (job.artifacts.session["state"], job.artifacts.session["exit_code"], job.artifacts.session["mode"]) == (
        "REFUSED",
        12,
        "LIVE",
    )
    assert job.tags["exit_code"] == "12"


@pytest.mark.scenario("G1")
@pytest.mark.parametrize(
    "only",
    [["pragma_verification"], ["shadow_run"], ["shadow_run", "postflight_evidence"], ["postflight_evidence"]],
    ids="+".join,
)
def test_an_asset_without_its_gates_in_the_same_run_refuses(passed: tuple[Launcher, Job], only: list[str]):
    """Each run proves its own gates, regardless of the files of earlier runs."""
    launch, _ = passed
    _require_refused(launch(SHORT, only=only))


@pytest.mark.scenario("G1", "S5")
def test_a_run_that_is_re_executed_from_its_failure_refuses(launch: Launcher, tmp_path: Path):
    settings = merge_settings(replay_feed(write_csv(tmp_path / "bad.csv", ["garbage"])), {"isolation": "thread"})
    failed = launch(settings)
    assert (failed.materialised, failed.checks["verdict"], failed.tags["exit_code"]) == (STEPS, False, "11")
    options = dg.ReexecutionOptions.from_failure(failed.run.run_id, launch.instance)
    with dg.execute_job(
        dg.reconstructable(shadow_run_job),
        launch.instance,
        run_config=run_config({**settings, "data_dir": str(launch.data_dir)}),
        reexecution_options=options,
        raise_on_error=False,
    ) as again:
        assert again.run_id != failed.run.run_id
        _require_refused(Job(again, launch.instance, launch.data_dir))


def shadow_run_job() -> dg.JobDefinition:
    """Return the job, so that Dagster can build it again in a new process."""
    return defs.resolve_job_def("shadow_run")


def _require_refused(job: Job) -> None:
    assert not job.result.success
    assert job.materialised == []
    (failure,) = job.failures
    assert "launch the job shadow_run as a whole" in failure
    assert job.tags["exit_code"] == "12"
    (row,) = [row for row in job.artifacts.sessions if row["run_id"] == job.run.run_id]
    assert (row["session_id"], row["state"], row["exit_code"]) == (job.session_id, "REFUSED", 12)
    folder = job.artifacts.data_dir / "evidence" / job.session_id
    evidence = json.loads((folder / "refusal.json").read_text())
    assert (evidence["verdict"], evidence["reasons"]) == ("FAIL", [failure])
    assert [path.name for path in folder.glob("*.json")] == ["refusal.json"]
    report = (folder / "report.md").read_text()
    assert report.startswith(f"# Shadow run {job.session_id}: FAIL")
    assert "refusal: expected" in report.partition("## Conclusion")[2]
    assert "launch the job shadow_run as a whole" in (folder / "report.html").read_text()
    assert job.artifacts.count("ticks", job.session_id) == 0
