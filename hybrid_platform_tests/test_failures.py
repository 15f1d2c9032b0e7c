"""docs/failures.md is complete: every kind of failure has rows, and each row names tests that exist."""

from __future__ import annotations

import re

import pytest

from hybrid_platform_tests.support import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "failures.md"
TESTS = REPOSITORY / "hybrid_platform_tests"
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
TEXT = DOCUMENT.read_text()
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and "::test_" in line]


def test_page_has_every_kind_of_failure():
    assert re.findall(r"^## (.*)$", TEXT, re.MULTILINE) == [
        "Killed",
        "Between the gates and the first stage",
        "The database locked or full",
        "The database's files, during a session",
        "The database's files, between two sessions",
        "The host",
        "The strategy",
        "Dagster",
    ]
    assert len(ROWS) > 40
    tables = re.split(r"^\| failure ", TEXT, flags=re.MULTILINE)[1:]
    rows = [line for table in tables for line in table.split("\n\n")[0].splitlines()[2:] if line.startswith("| ")]
    assert rows == ROWS, "a row without a test"


@pytest.mark.parametrize("row", ROWS, ids=[row[2:60] for row in ROWS])
def test_each_row_names_exit_code_and_existing_tests(row: str):
    cells = [cell.strip() for cell in row.strip("|").split(" | ")]
    assert len(cells) == 5, "failure, two descriptions, exit code, test"
    assert re.search(r"\d|–", cells[3]), "an exit code"
    named = NAMED.findall(cells[4])
    assert named, "a row without a test"
    for path, test in named:
        assert re.search(rf"^(?:async )?def {test}\(", (TESTS / path).read_text(), re.MULTILINE), f"{path}::{test}"


def test_every_fault_test_has_a_row():
    """Bad input and load have separate pages."""
    elsewhere = {"test_bad_files.py", "test_hog.py"}
    named = {test for _, test in NAMED.findall(TEXT)}
    for path in sorted((TESTS / "faults").glob("test_*.py")):
        if path.name not in elsewhere:
            found = re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)
            assert found and set(found) <= named, f"{path.name}: {sorted(set(found) - named)}"


def test_power_loss_is_not_claimed():
    assert "What none of this proves: **power loss.**" in TEXT
