"""docs/bad-inputs.md is complete: each row names tests that exist."""

from __future__ import annotations

import re

import pytest

from hybrid_platform_tests.support import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "bad-inputs.md"
TESTS = REPOSITORY / "hybrid_platform_tests"
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
ROWS = [
    line
    for line in DOCUMENT.read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| input |", "| --- |"))
]


def test_page_has_every_kind_of_bad_input():
    headings = re.findall(r"^## (.*)$", DOCUMENT.read_text(), re.MULTILINE)
    assert headings == [
        "Paths",
        "JSON, CSV, archives",
        "Market values",
        "Websocket",
        "Symbols and other text",
        "Secrets",
    ]
    assert len(ROWS) > 50


@pytest.mark.parametrize("row", ROWS, ids=[row[2:60] for row in ROWS])
def test_each_row_names_tests_that_exist(row):
    named = NAMED.findall(row)
    assert named, "a row without a test"
    for path, test in named:
        assert re.search(rf"^(?:async )?def {test}\(", (TESTS / path).read_text(), re.MULTILINE), f"{path}::{test}"
