"""Complete runs that many tests share."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from hybrid_platform_tests.support import (
    REPOSITORY,
    Artifacts,
    ProcessResult,
    merge_settings,
    run_cli,
    start_job,
    synthetic_feed,
)

REFERENCE = merge_settings({"seconds": 3, "heartbeat": {"interval_seconds": 2.5}}, synthetic_feed(20))
"""The reference run ten times as fast: 61 ticks in 3 seconds, with a heartbeat at the start and one more."""


class FinishedRun(NamedTuple):
    """A complete run: its folder, its process, and its artifacts."""

    folder: Path
    process: ProcessResult
    artifacts: Artifacts


def _finished(folder: Path, ended: ProcessResult) -> FinishedRun:
    return FinishedRun(folder, ended, Artifacts(folder / "data"))


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Return the reference run, executed by the CLI."""
    folder = tmp_path_factory.mktemp("reference")
    return _finished(folder, run_cli(folder, "shadow-run", settings=REFERENCE))


@pytest.fixture(scope="session")
def by_dagster(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Return the reference run, executed by ``dagster job execute``."""
    folder = tmp_path_factory.mktemp("dagster")
    with start_job(folder, REFERENCE) as running:
        return _finished(folder, running.end())


@pytest.fixture(scope="session")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Return the shipped replay of the shipped sample, executed by the CLI."""
    folder = tmp_path_factory.mktemp("replayed")
    shutil.copytree(REPOSITORY / "run_configs", folder / "run_configs")
    return _finished(folder, run_cli(folder, "shadow-run", "--config", "run_configs/replay.yaml"))
