"""Markdown tables hold whatever comes from outside, and it stays text in its own cell."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.report.markdown import CELL_LIMIT, cell, table

UNESCAPED_PIPE = re.compile(r"(?<!\\)\|")

HOSTILE = [
    "a | b",
    "`code`",
    "[link](javascript:alert(1))",
    "![image](http://x/y.png)",
    "<img src=x onerror=alert(1)>",
    "</td><script>",
    "# head",
    "a\nb\r\nc",
    "a\\| b",
    "&lt;",
    "\u202egnp",
    "\x1b[31m",
    "x" * 10_240,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_one_cell_without_markup(text):
    lines = table(("name", "value"), [(text, 1)]).splitlines()
    assert len(lines) == 3
    assert {len(UNESCAPED_PIPE.findall(line)) for line in lines} == {3}
    shown = cell(text)
    assert "<" not in shown
    assert not re.search(r"(?<!\\)[`\[\]!#]", shown)
    assert shown.isprintable()
    assert len(shown) <= 6 * CELL_LIMIT


@given(st.text())
def test_no_text_leaves_its_cell(text):
    assert len(UNESCAPED_PIPE.findall(table(("x",), [(text,)]).splitlines()[2])) == 2
