"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """The folder of real recorded market data; skips where the machine has none."""
    stated = os.environ.get("HYBRID_PLATFORM_TEST_DATA")
    folder = Path(stated) if stated else REPOSITORY.parent / "shared" / "data"
    if not (folder / "EXPECTED.md").is_file():
        pytest.skip("no recorded market data on this machine (HYBRID_PLATFORM_TEST_DATA names its folder)")
    return folder
