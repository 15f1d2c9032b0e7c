"""Fixtures that the tests of every room share, the marks of slow tests, and their scheduler."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from hybrid_platform.settings.loading import ENV_PREFIX, NOT_SETTINGS
from hybrid_platform_tests.code_server import Ui, dagster_dev
from hybrid_platform_tests.slow import mark_slow, worker_scope
from hybrid_platform_tests.support import run_in_process, synthetic_feed

# The time that an example takes depends on the load of the machine, not on the code alone.
settings.register_profile("hybrid_platform", deadline=None)
settings.load_profile("hybrid_platform")

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_slow(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object | None:
    """Replace the scheduler of ``--dist loadscope`` by one with the scopes of `worker_scope`, in collection order."""
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return worker_scope(nodeid)

    config.option.loadscopereorder = False
    return Scheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def _without_settings_of_the_caller() -> Iterator[None]:
    """Remove the caller's settings from the environment, for example the pressure limit of CI."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(ENV_PREFIX) and not name.startswith(NOT_SETTINGS):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """The folder of real recorded market data; skips where the machine has none."""
    stated = os.environ.get("HYBRID_PLATFORM_TEST_DATA")
    folder = Path(stated) if stated else REPOSITORY.parent / "shared" / "data"
    if not (folder / "EXPECTED.md").is_file():
        pytest.skip("no recorded market data on this machine (HYBRID_PLATFORM_TEST_DATA names its folder)")
    return folder


@pytest.fixture(scope="session")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """Start `dagster dev` once for all tests of the UI; each test uses a separate data directory."""
    with dagster_dev(tmp_path_factory.mktemp("code-server")) as served:
        yield served


@pytest.fixture(scope="session")
def session_of_evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a short session that passed all its gates."""
    data = tmp_path_factory.mktemp("sealed") / "data"
    run = run_in_process(data, {"seconds": 1.5, "heartbeat": {"interval_seconds": 1}}, synthetic_feed(50))
    assert run.code == 0, run.output
    return data
