"""docs/contract.md is up to date, and every id has code that enforces it and a test that proves it."""

from __future__ import annotations

import re

import pytest

from hybrid_platform.analysis.contract_page import BEGIN, END, update
from hybrid_platform.domain.contract import CONTRACT_IDS
from hybrid_platform_tests.support import REPOSITORY

PAGE = (REPOSITORY / "docs" / "contract.md").read_text()


def test_page_is_up_to_date():
    """Run ``python -m hybrid_platform.analysis.contract_page docs/contract.md`` after a change."""
    assert update(PAGE, REPOSITORY) == PAGE


@pytest.mark.parametrize("contract_id", CONTRACT_IDS)
def test_each_id_is_enforced_and_proved(contract_id: str):
    """An id without code or without a test would be a promise that nothing keeps."""
    (row,) = re.findall(rf"^\| {contract_id} \|.*$", PAGE, re.MULTILINE)
    enforced, proved = row.rstrip("|").split(" | ")[-2:]
    assert "`" in enforced
    assert "`" in proved


def test_page_without_marks_is_refused():
    with pytest.raises(ValueError, match=f"expected {BEGIN} and {END}"):
        update("# The contract\n", REPOSITORY)
