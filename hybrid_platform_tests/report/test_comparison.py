"""Comparisons of sessions show the differences in settings and in results."""

from __future__ import annotations

import csv
import io

import pytest

from hybrid_platform.analysis.sources import read_compared_sessions
from hybrid_platform.report.comparison import (
    build_comparison_frame,
    find_different_settings,
    flatten,
    read_compared_session,
    write_comparison,
)
from hybrid_platform.security.paths import DataDir
from hybrid_platform_tests.recording import Recorder, make_ticks, random_walk


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    return Recorder(tmp_path_factory.mktemp("compared") / "data")


@pytest.fixture(scope="module")
def pair(recorder: Recorder) -> list[str]:
    shadow, paper = recorder.settings(mode="SHADOW"), recorder.settings(paper={"latency": "home"})
    return [recorder.record(each, make_ticks(random_walk())).session_id for each in (shadow, paper)]


def test_a_comparison_shows_settings_and_results(recorder, pair):
    settings = recorder.settings()
    compared = read_compared_sessions(settings, pair)
    assert [row[0] for row in find_different_settings(compared)] == ["mode", "paper.latency"]
    frame = build_comparison_frame(compared)
    assert frame.loc["signals digest", "difference"] == "the same"
    assert frame.loc["pnl, USD", "difference"] == frame.loc["pnl, USD", "B"] - frame.loc["pnl, USD", "A"]
    report = write_comparison(DataDir(recorder.folder), "reports/compare/x", "A | <title>", compared)
    text = report.read_text()
    for name in ("pnl_over_time.svg", "pnl.svg"):
        assert f"({name})" in text
        assert (report.parent / name).read_bytes().startswith(b"<?xml")
    rows = list(csv.reader(io.StringIO((report.parent / "measures.csv").read_text())))
    assert rows[0] == ["", "A", "B", "difference"]
    assert float(next(row for row in rows if row[0] == "pnl, USD")[1]) == frame.loc["pnl, USD", "A"]


def test_a_session_without_ticks_can_be_compared_too(recorder, pair):
    empty = recorder.record(recorder.settings(), make_ticks([]))
    compared = [
        read_compared_session(recorder.reading, session_id, label)
        for session_id, label in ((pair[0], "A"), (empty.session_id, "B"))
    ]
    frame = build_comparison_frame(compared)
    assert frame.loc["pnl, USD", "B"] == 0
    assert frame.loc["sharpe, annualised", "difference"] is None


def test_settings_are_compared_by_dotted_path():
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}
