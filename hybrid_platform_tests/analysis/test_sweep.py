"""Plans of parameter sweeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_platform.analysis.sweep import build_point_settings, plan_sweep, read_plan, read_sweep, write_plan
from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.loading import load_settings, read_yaml
from hybrid_platform_tests.conftest import REPOSITORY


def test_points_are_all_combinations(tmp_path):
    """Each combination of values is a point with its own key and data directory."""
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
def test_a_sweep_that_cannot_run_is_refused_at_planning(name, vary, words):
    with pytest.raises(ConfigError, match=words):
        plan_sweep(name, load_settings(environ={}), vary)


def test_the_shipped_sweep_config_can_be_planned():
    """run_configs/sweep.yaml serves the command line and Dagster."""
    path = REPOSITORY / "run_configs" / "sweep.yaml"
    name, vary = read_sweep(path)
    plan = plan_sweep(name, load_settings(read_yaml(path), environ={}), vary)
    assert len(plan.points) == 6
    assert plan.base["mode"] == "PAPER"


@pytest.mark.parametrize("text", ["", "a: 1", "ops: {make_plan: {config: {name: x}}}", "["])
def test_a_file_without_a_plan_is_a_config_error(tmp_path: Path, text):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"ops.make_plan.config"):
        read_sweep(path)
