"""One session that ended well, shared by the tests of its reports."""

from __future__ import annotations

import pytest

from hybrid_platform.evidence.bundle import read_if_there
from hybrid_platform.evidence.records import SessionFiles, parse_session_files
from hybrid_platform.security.paths import DataDir
from hybrid_platform_tests.support import run_in_process, synthetic_feed


@pytest.fixture(scope="package")
def ended(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """The data directory of a session that ended well."""
    folder = tmp_path_factory.mktemp("page") / "data"
    run = run_in_process(folder, {"seconds": 1.5, "heartbeat": {"interval_seconds": 0.5}}, synthetic_feed(100))
    assert run.code == 0, run.output
    return DataDir(folder)


@pytest.fixture(scope="package")
def session_id(ended: DataDir) -> str:
    return next(path.name for path in (ended.root / "evidence").iterdir() if path.name != "checks")


@pytest.fixture(scope="package")
def records(ended: DataDir, session_id: str) -> SessionFiles:
    return parse_session_files(lambda name: read_if_there(ended, f"evidence/{session_id}/{name}"))
