"""Markdown that nothing from outside can break, and reports of runs that did not get far (G5)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.report.markdown import cell, table
from hybrid_platform.report.writer import find_last_session, write_reports
from hybrid_platform.security.paths import DataDir
from hybrid_platform_tests.support import good_rows, replay, run_here, synthetic, write_csv

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
def test_a_table_has_one_line_a_row_whatever_it_holds(rows: list[tuple[str, str]]):
    lines = table(("a", "b"), rows).split("\n")
    assert len(lines) == 2 + len(rows)
    for line in lines:
        unescaped = re.sub(r"\\.", "", line)
        assert unescaped.count("|") == 3, line


def test_a_cell_is_bounded_and_says_nothing_for_nothing():
    assert len(cell("x" * 10_000)) < 500
    assert cell(None) == "–"
    assert (cell(True), cell(1234567)) == ("yes", "1,234,567")


def test_a_run_that_was_refused_has_a_report_that_says_so(tmp_path: Path):
    run = run_here(tmp_path / "data", synthetic("max", ticks=10), {"gates": {"cpu_pressure_limit": 0}})
    assert run.report.startswith(f"# Shadow run {run.session_id}: FAIL")
    assert "The run did not get so far." in run.report
    conclusion = run.report[run.report.index("## Conclusion") :]
    assert "**FAIL**" in conclusion and "CPU pressure" in conclusion


def test_a_hostile_symbol_and_reason_stay_text_in_a_report(tmp_path: Path):
    rows = [row.replace("SPY", "<B>|X") for row in good_rows(30)]
    path = write_csv(tmp_path / "trades.csv", [*good_rows(30), *rows])
    run = run_here(tmp_path / "data", replay(path), {"isolation": "thread"})
    assert run.count("ticks") == 30, "rejected, not cleaned"
    assert "<B>" not in run.report


def test_reports_of_sessions_that_left_nothing_are_config_errors(tmp_path: Path):
    data_dir = DataDir(tmp_path / "data")
    with pytest.raises(ConfigError, match="a session with evidence"):
        find_last_session(data_dir)
    for session_id in ("20200101T000000Z-00000000", "../../etc", ""):
        with pytest.raises(ConfigError, match="a session with evidence"):
            write_reports(data_dir, session_id)
    assert not (tmp_path / "data").exists()
