"""The world that a LIVE gate looks at: bundles made from a real session's records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid_platform.evidence.bundle import read_if_there
from hybrid_platform.evidence.records import parse_session_files
from hybrid_platform.security.paths import DataDir
from hybrid_platform_tests.live.world import Stock, World


@pytest.fixture(scope="session")
def stock(session_of_evidence: Path, tmp_path_factory: pytest.TempPathFactory) -> Stock:
    """Bundles made of a real session's records."""
    found = next(path for path in (session_of_evidence / "evidence").iterdir() if path.name != "checks")
    records = parse_session_files(lambda name: read_if_there(DataDir(found), name))
    return Stock(tmp_path_factory.mktemp("stock"), records)


@pytest.fixture
def world(stock: Stock, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, stock)
    yield made
    made.forget()
