"""The job `retention`: it removes the platform's own old runs and ticks, and keeps everything else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from hybrid_platform.defs.maintenance.jobs import prune_runs
from hybrid_platform.defs.shared.names import SESSION_TAG
from hybrid_platform_tests.definitions import defs
from hybrid_platform_tests.support import merge_settings, run_config, run_in_process, synthetic_feed

LATER = timedelta(days=1)


@dg.op
def say() -> None:
    print("output that is captured")


@dg.job
def ours() -> None:
    say()


@dg.job
def foreign() -> None:
    say()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def remaining_runs(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def test_finished_runs_are_pruned_with_events_and_files(instance: dg.DagsterInstance):
    runs = [ours.execute_in_process(instance=instance).run_id for _ in range(3)]
    other = foreign.execute_in_process(instance=instance).run_id
    tagged = foreign.execute_in_process(instance=instance, tags={SESSION_TAG: "x"}).run_id
    waiting = instance.create_run_for_job(ours, status=dg.DagsterRunStatus.STARTED).run_id
    files = [Path(instance.event_log_storage.path_for_shard(run)) for run in (*runs, tagged)]
    assert all(file.exists() for file in files)
    assert prune_runs(instance, {"ours"}, datetime.now(UTC) - LATER) == 0
    assert prune_runs(instance, {"ours"}, datetime.now(UTC) + LATER) == 4
    assert remaining_runs(instance) == {other, waiting}
    assert not any(file.exists() for file in files)
    assert instance.all_logs(other)
    assert prune_runs(instance, {"ours"}, datetime.now(UTC) + LATER) == 0


def test_a_page_full_of_foreign_runs_hides_none_of_ours(instance: dg.DagsterInstance):
    mine = []
    for job in (ours, foreign, foreign, foreign, ours, foreign):
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.SUCCESS)
        mine += [run.run_id] if job is ours else []
    assert prune_runs(instance, {"ours"}, datetime.now(UTC) + LATER, runs_per_page=2) == 2
    assert not remaining_runs(instance) & set(mine)


def test_job_moves_ticks_and_reports_it(instance: dg.DagsterInstance, tmp_path: Path):
    data = tmp_path / "data"
    session = run_in_process(data, {"isolation": "thread"}, synthetic_feed("max", ticks=20), with_report=False)
    settings = merge_settings(
        {"data_dir": str(data), "retention": {"ticks_days": 0, "dagster_days": 1, "wait_seconds": 0}}
    )
    done = defs.resolve_job_def("retention").execute_in_process(run_config(settings), instance=instance)
    assert done.success
    assert session.count("ticks") == 0
    (output,) = done.filter_events(lambda event: event.event_type is dg.DagsterEventType.STEP_OUTPUT)
    said = {name: value.value for name, value in output.event_specific_data.metadata.items()}
    assert (said["ticks"], said["sessions"], said["runs"]) == (20, 1, 0)


def test_a_session_that_cannot_be_moved_fails_the_job_by_name(instance: dg.DagsterInstance, tmp_path: Path):
    data = tmp_path / "data"
    session = run_in_process(data, {"isolation": "thread"}, synthetic_feed("max", ticks=20), with_report=False)
    with closing(sqlite3.connect(data / "bot.db", isolation_level=None)) as connection:
        connection.execute("UPDATE tick_rows SET instrument_no = 99 WHERE seq = 7")
    settings = merge_settings({"data_dir": str(data), "retention": {"ticks_days": 0, "wait_seconds": 0}})
    job = defs.resolve_job_def("retention")
    done = job.execute_in_process(run_config(settings), instance=instance, raise_on_error=False)
    assert not done.success
    (failure,) = [event.step_failure_data.user_failure_data for event in done.get_step_failure_events()]
    assert failure.description.startswith(f"{session.last.session_id} was not moved: archiving ticks: expected instru")


def test_with_nothing_set_the_job_does_nothing(instance: dg.DagsterInstance, tmp_path: Path):
    settings = merge_settings({"data_dir": str(tmp_path / "data")})
    assert defs.resolve_job_def("retention").execute_in_process(run_config(settings), instance=instance).success
    assert not (tmp_path / "data").exists()
