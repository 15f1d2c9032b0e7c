"""The job that proves the whole contract: rows in the UI, its page, and a run that fails with a failed row (G5)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hybrid_platform.analysis.matrix import run_matrix
from hybrid_platform.defs.matrix import assets as matrix_defs
from hybrid_platform.domain.contract import CONTRACT_IDS
from hybrid_platform_tests.defs.conftest import Job, Launcher

pytestmark = pytest.mark.scenario("G5")


def test_an_unproved_row_fails_the_run(launch: Launcher, tmp_path: Path, monkeypatch):
    """A small folder replaces the contract's own tests, which take minutes."""
    tests = tmp_path / "sample_tests"
    tests.mkdir()
    marked = "\n".join(f"@pytest.mark.scenario('{each}')" for each in CONTRACT_IDS if each != "S5")
    (tests / "test_sample.py").write_text(f"import pytest\n{marked}\ndef test_nearly_all(): pass\n")
    monkeypatch.setattr(matrix_defs, "run_matrix", partial(run_matrix, tests=tests, workers=0))
    job = launch(job="verification_matrix")
    assert not job.result.success
    shown = metadata_of(job)
    assert (shown["proved"].value, shown["unproved"].value) == (len(CONTRACT_IDS) - 1, 1)
    verdicts = [row.data["verdict"] for row in shown["matrix"].records]
    assert verdicts.count("PASS") == len(CONTRACT_IDS) - 1
    [check] = job.result.get_asset_check_evaluations()
    assert (check.passed, check.description) == (False, "S5")

    (tests / "test_more.py").write_text("import pytest\n@pytest.mark.scenario('S5')\ndef test_the_rest(): pass\n")
    job = launch(job="verification_matrix")
    assert job.result.success
    assert "PASS" in Path(metadata_of(job)["page"].value).read_text()


def metadata_of(job: Job) -> Mapping[str, Any]:
    return job.result.get_asset_materialization_events()[0].materialization.metadata
