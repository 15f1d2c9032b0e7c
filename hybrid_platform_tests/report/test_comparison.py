"""Sessions each by each, and sweeps: what differs is shown, whatever the sessions are called."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from hybrid_platform.analysis.sources import read_compared_sessions
from hybrid_platform.analysis.sweep import build_point_settings, plan_sweep, read_plan, read_sweep, write_plan
from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.report.comparison import (
    build_comparison_frame,
    find_different_settings,
    flatten,
    read_compared_session,
    write_comparison,
)
from hybrid_platform.report.figures import draw_session
from hybrid_platform.report.measures.session import measure_session
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.loading import load_settings, read_yaml
from hybrid_platform_tests.conftest import REPOSITORY
from hybrid_platform_tests.recording import Recorder, make_ticks
from hybrid_platform_tests.reproduce.test_reproduce import a_walk


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    return Recorder(tmp_path_factory.mktemp("compared") / "data")


@pytest.fixture(scope="module")
def pair(recorder: Recorder) -> list[str]:
    shadow, paper = recorder.settings(mode="SHADOW"), recorder.settings(paper={"latency": "home"})
    return [recorder.record(each, make_ticks(a_walk())).session_id for each in (shadow, paper)]


def test_two_sessions_side_by_side_show_what_was_set_and_what_came_out(recorder, pair):
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


def test_a_session_is_found_by_its_id_by_a_data_directory_and_by_its_evidence(recorder, pair):
    evidence = recorder.folder / "evidence" / pair[0]
    evidence.mkdir(parents=True)
    found = read_compared_sessions(recorder.settings(), [pair[0], str(recorder.folder), str(evidence)])
    assert [each.session.session_id for each in found][::2] == [pair[0], pair[0]]
    assert [each.label for each in found] == ["A", "B", "C"]


@pytest.mark.parametrize("name", ["nothing", "{folder}/evidence"])
def test_a_session_that_is_not_there_is_said_not_to_be(recorder, pair, name):
    (recorder.folder / "evidence").mkdir(exist_ok=True)
    with pytest.raises(ConfigError, match="session: expected"):
        read_compared_sessions(recorder.settings(), [pair[0], name.format(folder=recorder.folder)])


def test_a_session_without_ticks_can_be_compared_too(recorder, pair):
    empty = recorder.record(recorder.settings(), make_ticks([]))
    compared = [
        read_compared_session(recorder.reading, session_id, label)
        for session_id, label in ((pair[0], "A"), (empty.session_id, "B"))
    ]
    frame = build_comparison_frame(compared)
    assert frame.loc["pnl, USD", "B"] == 0
    assert frame.loc["sharpe, annualised", "difference"] is None


def test_pictures_are_the_same_for_the_same_session(recorder, pair):
    measured = measure_session(recorder.reading, pair[1])
    first = draw_session(measured)
    assert first == draw_session(measured)
    assert set(first) == {"equity", "drawdown", "price", "exposure", "latency"}
    for picture in first.values():
        assert picture.startswith(b"<?xml")
        assert len(picture) < 120_000


def test_a_sweeps_points_are_all_combinations_each_with_a_directory_of_its_own(tmp_path):
    data_dir = DataDir(tmp_path / "data")
    vary = {"strategy.params.short": [3, 5], "strategy.params.long": [20, "50"], "mode": ["SHADOW"]}
    base = load_settings({"strategy": {"name": "sma_crossover"}, "seconds": 7}, environ={})
    write_plan(data_dir, plan_sweep("sma", base, vary))
    plan = read_plan(data_dir, "sma")
    assert [point.key for point in plan.points] == [
        f"short={short},long={long},mode=SHADOW" for short in (3, 5) for long in (20, 50)
    ]
    settings = build_point_settings(plan, plan.points[1], data_dir)
    assert settings.strategy.params == {"short": 3, "long": "50"}
    assert settings.data_dir == str(data_dir.root / "sweeps" / "sma" / plan.points[1].key)
    assert settings.seconds == 7


@pytest.mark.parametrize(
    ("name", "vary", "words"),
    [
        ("../x", {"seconds": [1]}, "name: expected a name"),
        ("x", {}, "vary: expected dotted setting"),
        ("x", {"seconds": 5}, "vary.seconds: expected a list of values, got 5"),
        ("x", {"seconds": []}, "vary.seconds: expected a list of values"),
        ("x", {"seconds": [5, -1]}, "seconds=-1: seconds: expected"),
        ("x", {"secnds": [5]}, "did you mean `seconds`"),
        ("x", {"seconds": [1] * 1001}, "at most 1000 points"),
        ("x", {"strategy.name": ["a b", "a_b"]}, "look different"),
    ],
)
def test_a_sweep_that_could_not_run_is_refused_before_anything_runs(name, vary, words):
    with pytest.raises(ConfigError, match=words):
        plan_sweep(name, load_settings(environ={}), vary)


def test_the_shipped_sweep_is_one_file_for_the_command_line_and_for_dagster():
    path = REPOSITORY / "run_configs" / "sweep.yaml"
    name, vary = read_sweep(path)
    plan = plan_sweep(name, load_settings(read_yaml(path), environ={}), vary)
    assert len(plan.points) == 6
    assert plan.base["mode"] == "PAPER"


@pytest.mark.parametrize("text", ["", "a: 1", "ops: {make_plan: {config: {name: x}}}", "["])
def test_a_file_that_plans_nothing_is_said_to(tmp_path: Path, text):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"ops.make_plan.config"):
        read_sweep(path)


def test_settings_are_compared_by_dotted_path():
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}
