"""Markdown that text from outside cannot break."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.report.markdown import cell, table

HOSTILE = [
    "|",
    "\n",
    "a\r\nb",
    "<img onerror=x>",
    "[x](http://y)",
    "`code`",
    "*b*",
    "\x1b[31m",
    "\u202e",
    "![i](j)",
    "\\|",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_value_stays_one_cell_of_plain_text(text: str):
    _, _, row = table(("a", "b"), [(text, "end")]).splitlines()
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert not re.search(r"(?<!\\)[*`\[\]]|<|\x1b|\u202e", row)
    assert row.endswith("| end |")


@given(st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60)), max_size=5))
def test_a_table_has_one_line_per_row(rows: list[tuple[str, str]]):
    lines = table(("a", "b"), rows).split("\n")
    assert len(lines) == 2 + len(rows)
    for line in lines:
        unescaped = re.sub(r"\\.", "", line)
        assert unescaped.count("|") == 3, line


def test_a_cell_is_bounded_and_shows_none_as_a_dash():
    assert len(cell("x" * 10_000)) < 500
    assert cell(None) == "–"
    assert (cell(True), cell(1234567)) == ("yes", "1,234,567")
