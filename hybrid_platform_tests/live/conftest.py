"""Fixtures of the LIVE tests: proof bundles made from a real session, and a world in which the gate opens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid_platform.evidence.bundle import read_if_there
from hybrid_platform.evidence.records import parse_session_files
from hybrid_platform.security.paths import DataDir
from hybrid_platform_tests.live.world import BundleStore, World


@pytest.fixture(scope="session")
def bundle_store(session_of_evidence: Path, tmp_path_factory: pytest.TempPathFactory) -> BundleStore:
    """Bundles made of a real session's records."""
    found = next(path for path in (session_of_evidence / "evidence").iterdir() if path.name != "checks")
    records = parse_session_files(lambda name: read_if_there(DataDir(found), name))
    return BundleStore(tmp_path_factory.mktemp("bundle_store"), records)


@pytest.fixture
def world(bundle_store: BundleStore, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, bundle_store)
    yield made
    made.forget()
