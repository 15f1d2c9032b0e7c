"""Jobs of the definitions in this process, on a temporary instance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from hybrid_platform_tests.definitions import defs
from hybrid_platform_tests.support import Artifacts, Settings, merge_settings, run_config


class Job:
    """A finished job: its result, the tags of its run, and its artifacts."""

    def __init__(
        self, result: dg.ExecuteInProcessResult | dg.JobExecutionResult, instance: dg.DagsterInstance, data_dir: Path
    ) -> None:
        self.result = result
        self.run: Any = instance.get_run_by_id(result.run_id)
        self.artifacts = Artifacts(data_dir)

    @property
    def tags(self) -> dict[str, str]:
        prefix = "hybrid_platform/"
        return {name.removeprefix(prefix): value for name, value in self.run.tags.items() if name.startswith(prefix)}

    @property
    def session_id(self) -> str:
        return self.tags["session_id"]

    @property
    def started(self) -> list[str]:
        """The steps that began."""
        kind = dg.DagsterEventType.STEP_START
        return [str(event.step_key) for event in self.result.filter_events(lambda event: event.event_type is kind)]

    @property
    def materialised(self) -> list[str]:
        """The assets that steps of this run materialized; not the tables that a session reports."""
        keys = [event.asset_key for event in self.result.get_asset_materialization_events()]
        return [key.to_user_string() for key in keys if key.path[0] != "database"]

    def materialization(self, name: str) -> dg.AssetMaterialization:
        (event,) = [
            event
            for event in self.result.get_asset_materialization_events()
            if event.asset_key.to_user_string() == name
        ]
        return event.step_materialization_data.materialization

    @property
    def table_rows(self) -> dict[str, object]:
        """The rows that the session reported, by table."""
        events = self.result.get_asset_materialization_events()
        return {
            event.asset_key.path[1]: event.step_materialization_data.materialization.metadata["dagster/row_count"].value
            for event in events
            if event.asset_key.path[0] == "database"
        }

    @property
    def checks(self) -> dict[str, bool]:
        return {check.check_name: check.passed for check in self.result.get_asset_check_evaluations()}

    @property
    def failures(self) -> list[str]:
        """The reasons why steps and checks failed, as the UI shows them first."""
        events = self.result.filter_events(lambda event: event.is_step_failure)
        failures = [event.step_failure_data.user_failure_data for event in events]
        steps = [str(data.description) for data in failures if data is not None]
        checks = self.result.get_asset_check_evaluations()
        return steps + [str(check.description) for check in checks if not check.passed]


class Launcher:
    """Runs jobs on one instance and one data directory."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        self.instance = instance
        self.data_dir = folder / "data"

    def __call__(self, *layers: Settings, job: str = "shadow_run", only: list[str] | None = None) -> Job:
        settings = merge_settings({"data_dir": str(self.data_dir)}, *layers)
        result = defs.resolve_job_def(job).execute_in_process(
            run_config=run_config(settings),
            instance=self.instance,
            raise_on_error=False,
            asset_selection=None if only is None else [dg.AssetKey(name) for name in only],
        )
        return Job(result, self.instance, self.data_dir)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launcher]:
    """Launch jobs below the test's own folder."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield Launcher(instance, tmp_path)
