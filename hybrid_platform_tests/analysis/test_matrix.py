"""The verification matrix: only a test that passes proves an id."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.analysis.matrix import Outcome, judge_id, matrix_lines, run_matrix, store_matrix
from hybrid_platform.domain.contract import CONTRACT, CONTRACT_IDS
from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.domain.records import CodeIdentity, Verdict
from hybrid_platform.evidence.dsse import UntrustedError
from hybrid_platform.evidence.keys import create_key, load_trusted_keys
from hybrid_platform.evidence.matrix import Matrix, MatrixRow, read_matrix
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.gates import KeySettings
from hybrid_platform.testing import TestClock
from hybrid_platform_tests.report.pages import Page
from hybrid_platform_tests.support import REPOSITORY

pytestmark = pytest.mark.scenario("G5")
CODE = CodeIdentity("0.1.0", "a" * 40, False, "b" * 64)

SAMPLE = """
import pytest
proves = pytest.mark.scenario

@proves("S1", "I5")
def test_passes(): pass

@proves("S2")
def test_passes_too(): pass

@proves("S2")
def test_fails(): assert 1 == 2

@proves("S3")
def test_is_skipped(): pytest.skip("no venue here")

@proves("S4")
@pytest.mark.xfail(strict=True)
def test_fails_as_it_must(): assert False

@proves("S6")
@pytest.mark.xfail(strict=True)
def test_passes_although_it_must_not(): pass

@proves("S7")
@pytest.mark.parametrize("n", [1, 2, 3])
def test_thrice(n): pass

@pytest.fixture
def broken(): raise RuntimeError("no such thing")

@proves("S8")
def test_cannot_begin(broken): pass

def test_without_an_id(): assert False, "proves nothing, is not run"
"""


def sample(folder: Path, text: str = SAMPLE) -> Path:
    tests = folder / "sample_tests"
    tests.mkdir()
    (tests / "test_sample.py").write_text(text)
    return tests


def full() -> Matrix:
    rows = tuple(
        MatrixRow(each, CONTRACT[each].statement, "pytest", "passes", "1 passed", 0.5, Verdict.PASS)
        for each in CONTRACT_IDS
    )
    return Matrix(
        version="0.1.0",
        commit=CODE.commit,
        dirty=False,
        code_sha256=str(CODE.sha256),
        python="3.11",
        started_at="then",
        ended_at="now",
        rows=rows,
    )


def test_each_row_shows_the_results_of_its_tests(tmp_path):
    matrix = run_matrix(CODE, TestClock(), tests=sample(tmp_path))
    assert matrix.faults == ()
    assert tuple(row.id for row in matrix.rows) == CONTRACT_IDS
    found = {row.id: (row.verdict.value, row.actual.split(":")[0]) for row in matrix.rows}
    assert found["S1"] == found["I5"] == ("PASS", "1 passed")
    assert found["S2"] == ("FAIL", "1 failed, 1 passed")
    assert found["S3"] == ("NOT_RUN", "1 skipped")
    assert found["S4"] == ("NOT_RUN", "1 xfailed")
    assert found["S6"] == ("FAIL", "1 failed")
    assert found["S7"] == ("PASS", "3 passed")
    assert found["S8"][0] == "FAIL"
    assert found["G0"] == ("NOT_RUN", "no test proves this id")
    assert "test_fails: assert 1 == 2" in next(row.actual for row in matrix.rows if row.id == "S2")
    assert not matrix.is_full
    assert set(CONTRACT_IDS) - set(matrix.unproved) == {"S1", "I5", "S7"}


def test_a_partial_matrix_is_not_full(tmp_path):
    matrix = run_matrix(CODE, TestClock(), tests=sample(tmp_path), only=("S7",), workers=0)
    assert [(row.id, row.verdict) for row in matrix.rows] == [("S7", Verdict.PASS)]
    assert matrix.holds
    assert not matrix.is_full
    assert matrix_lines(matrix)[-1] == "1 of 1 proved"


def test_a_module_that_cannot_be_imported_is_a_fault(tmp_path):
    tests = sample(tmp_path)
    (tests / "test_broken.py").write_text("import no_such_module_anywhere\n")
    matrix = run_matrix(CODE, TestClock(), tests=tests, workers=0)
    assert any("test_broken.py" in fault for fault in matrix.faults)
    assert not matrix.holds


def test_endless_tests_are_stopped(tmp_path):
    endless = SAMPLE + '\n@proves("S9")\ndef test_hangs():\n    import time\n    time.sleep(600)\n'
    matrix = run_matrix(CODE, TestClock(), tests=sample(tmp_path, endless), timeout_s=3, workers=0)
    assert "expected the proofs to end within 3 s" in matrix.faults[0]
    assert {row.verdict for row in matrix.rows} == {Verdict.NOT_RUN}


def test_a_matrix_that_cannot_run_is_refused_at_once(tmp_path):
    with pytest.raises(ConfigError, match="S99"):
        run_matrix(CODE, TestClock(), tests=tmp_path, only=("S99",))
    with pytest.raises(ConfigError, match="a checkout with its"):
        run_matrix(CODE, TestClock(), tests=tmp_path / "none")
    matrix = run_matrix(CODE, TestClock(), tests=sample(tmp_path, "def test_x(): pass"), workers=0)
    assert matrix.faults == ("expected pytest to end with 0 or 1, got 5",)


@given(outcomes=st.lists(st.sampled_from(["passed", "failed", "skipped", "xfailed", "error"]), max_size=8))
def test_a_row_needs_a_passed_test_and_no_failed_one(outcomes):
    row = judge_id("S1", [Outcome(f"test_{n}", ("S1",), outcome, 0.25) for n, outcome in enumerate(outcomes)])
    failed = {"failed", "error"} & set(outcomes)
    assert (row.verdict is Verdict.PASS) == ("passed" in outcomes and not failed)
    assert (row.verdict is Verdict.FAIL) == bool(failed)
    assert row.duration_s == 0.25 * len(outcomes)


def test_a_matrix_is_stored_by_commit_signed_and_as_a_page(tmp_path):
    data = DataDir(tmp_path / "data")
    page = store_matrix(data, full(), KeySettings())
    assert page == tmp_path / f"data/evidence/matrix/{'a' * 40}.html"
    assert json.loads(page.with_suffix(".json").read_text())["commit"] == "a" * 40
    read = read_matrix(data, "a" * 40, load_trusted_keys(tmp_path / "data/keys"))
    assert read == full()
    assert read.is_full
    shown = Page(page.read_text())
    assert "PASS" in shown.text[:60]
    assert all(CONTRACT[each].statement in shown.text for each in CONTRACT_IDS)
    create_key(tmp_path / "stranger.pem")
    with pytest.raises(UntrustedError):
        read_matrix(data, "a" * 40, load_trusted_keys(tmp_path))


def test_a_dirty_tree_does_not_count_as_its_commit(tmp_path):
    data = DataDir(tmp_path / "data")
    dirty = Matrix(**{name: getattr(full(), name) for name in full().__struct_fields__} | {"dirty": True})
    assert store_matrix(data, dirty, KeySettings()).name == f"{'a' * 40}-dirty.html"
    with pytest.raises(FileNotFoundError):
        read_matrix(data, "a" * 40, load_trusted_keys(tmp_path / "data/keys"))


def test_markers_cite_only_ids_of_the_contract():
    """The contract has exactly these ids, each with a statement; a marker with any other id is a mistake."""
    groups = (("S", range(1, 16)), ("I", range(1, 8)), ("G", range(6)), ("L", range(1, 5)))
    assert tuple(f"{letter}{number}" for letter, numbers in groups for number in numbers) == CONTRACT_IDS
    assert all(clause.statement for clause in CONTRACT.values())
    borne = {
        found
        for path in (REPOSITORY / "hybrid_platform_tests").rglob("*.py")
        for marker in re.findall(r"mark\.scenario\(([^)]*)\)", path.read_text())
        for found in re.findall(r'"([SIGL][0-9]+)"', marker)
    }
    assert sorted(borne - set(CONTRACT_IDS)) == []
