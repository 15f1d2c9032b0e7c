"""Whole runs, made once and looked at by many tests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from hybrid_platform_tests.support import REPOSITORY, Ended, Left, cli, layered, start_job, synthetic

REFERENCE = layered({"seconds": 3, "heartbeat": {"interval_seconds": 2.5}}, synthetic(20))
"""The reference run ten times as fast: 61 ticks in 3 seconds, with a heartbeat at the start and one more."""


class Whole(NamedTuple):
    """A run that ended."""

    folder: Path
    ended: Ended
    left: Left


def _left(folder: Path, ended: Ended) -> Whole:
    return Whole(folder, ended, Left(folder / "data"))


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The reference run by the CLI."""
    folder = tmp_path_factory.mktemp("reference")
    return _left(folder, cli(folder, "shadow-run", settings=REFERENCE))


@pytest.fixture(scope="session")
def by_dagster(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The reference run by ``dagster job execute``."""
    folder = tmp_path_factory.mktemp("dagster")
    with start_job(folder, REFERENCE) as running:
        return _left(folder, running.end())


@pytest.fixture(scope="session")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The shipped replay of the shipped sample, by the CLI."""
    folder = tmp_path_factory.mktemp("replayed")
    shutil.copytree(REPOSITORY / "run_configs", folder / "run_configs")
    return _left(folder, cli(folder, "shadow-run", "--config", "run_configs/replay.yaml"))
