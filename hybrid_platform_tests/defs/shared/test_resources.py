"""The launchpad's schema, derived from the settings: every key, no default, no flat union (G0)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import dagster as dg
import pytest
import yaml
from pydantic import BaseModel

from hybrid_platform.defs.shared.schema import build_config_fields
from hybrid_platform.settings.loading import load_settings, read_yaml
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform_tests.definitions import defs
from hybrid_platform_tests.support import REPOSITORY, run_config

DESIGN = """
mode: SHADOW
live_armed: false
seconds: 30
data_dir: data
database_url: null
isolation: process
require_isolation: false
feed: {synthetic: {ticks_per_second: 2, symbols: [SOL/USDC], seed: 7}}
strategy: {name: periodic, params: {every: 10}}
risk: {max_exposure_usd: 10000, max_symbol_exposure_usd: 5000, max_open_orders: 10, max_staleness_ms: 2000}
channels: {tick: null, signal: null, persist: null, on_full: null}
gates: {cpu_pressure_limit: 20.0, pressure_wait_seconds: 60, dashboard_port: 8501}
"""
REPLAY = """
feed:
  replay:
    path: trades.csv.gz
    columns: {ts: ts_ms, price: price, size: size, symbol: symbol, trade_id: id, side: side}
    ts_unit: ms
    speed: max
strategy: {name: sma_crossover, params: {short: 5, long: 20, size: "0.1"}}
"""
PRESET = "feed: {replay: {path: [a.csv, b.csv], format: us_equity, symbol: SPY, speed: 2.5}}"


def is_valid(settings: Any) -> bool:
    return accepts("shadow_run", run_config(settings))


def accepts(job: str, config: Any) -> bool:
    try:
        dg.validate_run_config(defs.resolve_job_def(job), config)
    except dg.DagsterInvalidConfigError:
        return False
    return True


@pytest.mark.parametrize("text", [DESIGN, REPLAY, PRESET, "{}"], ids=["design", "replay", "preset", "nothing"])
def test_documented_keys_are_accepted_by_dagster_and_settings(text: str):
    settings = yaml.safe_load(text)
    assert is_valid(settings)
    load_settings(settings, environ={})


@pytest.mark.scenario("G0")
def test_the_documented_values_are_the_defaults():
    stated = load_settings(yaml.safe_load(DESIGN), environ={})
    default = load_settings(environ={})
    same = {"strategy": stated.strategy, "isolation": stated.isolation}  # params spelled out; thread on other hosts
    assert default.model_copy(update=same) == stated


@pytest.mark.parametrize(
    "settings",
    [
        {"feed": {"kind": "replay", "path": "x"}},
        {"feed": {"synthetic": {}, "replay": {"path": "x"}}},
        {"feed": {"synthetic": {"rate": 2}}},
        {"risk": {"max_exposure": 1}},
        {"mode": "DEMO"},
        {"isolation": "none"},
        {"nonsense": 1},
    ],
    ids=str,
)
def test_invalid_launches_are_rejected(settings: dict[str, Any]):
    assert not is_valid(settings)


def keys_of(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Yield every key of the settings; the items of a list of sections have no path of their own."""
    for name, info in model.model_fields.items():
        yield f"{path}{name}"
        optional = (
            get_args(info.annotation) if get_origin(info.annotation) in {Union, UnionType} else (info.annotation,)
        )
        for section in optional:
            if isinstance(section, type) and issubclass(section, BaseModel):
                yield from keys_of(section, f"{path}{name}.")


def shown_keys(fields: Any, path: str = "") -> Iterator[str]:
    for name, field in fields.items():
        yield f"{path}{name}"
        kind = field.config_type
        inner = getattr(kind, "inner_type", kind)
        if hasattr(inner, "fields"):
            yield from shown_keys(inner.fields, f"{path}{name}.")


def test_the_launchpad_describes_every_setting():
    """None of them is required."""
    shape = dg.Shape(build_config_fields(SessionSettings))
    shown = set(shown_keys(shape.fields))
    assert shown == set(keys_of(SessionSettings))
    assert shape.fields["mode"].description == "SHADOW, PAPER or LIVE. (default: SHADOW)"
    assert {"feed.replay.columns.ts", "risk.max_exposure_usd", "gates.cpu_pressure_limit"} <= shown
    for name, field in shape.fields.items():
        assert field.description, name
        assert not field.is_required, name


def test_missing_keys_stay_open_for_the_environment():
    """Were a default filled in by the schema, it would outrank the environment."""
    job = defs.resolve_job_def("shadow_run")
    processed = dg.validate_run_config(job, run_config({"seconds": 5}))
    assert processed is not None
    assert processed["resources"]["session"]["config"] == {"seconds": 5.0}


@pytest.mark.parametrize("path", sorted((REPOSITORY / "run_configs").glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_run_configs_are_valid_for_dagster_and_cli(path: Path):
    config = yaml.safe_load(path.read_text())
    jobs = [name for name in defs.get_repository_def().job_names if accepts(name, config)]
    assert "shadow_run" in jobs or (jobs and "ops" in config), "for the job of the contract, or one that its ops name"
    settings = load_settings(config["resources"]["session"]["config"], environ={})
    if "ops" not in config:
        assert load_settings(read_yaml(path), environ={}) == settings
    replayed = settings.feed.replay
    if replayed is not None:
        for name in replayed.paths:
            assert (REPOSITORY / name).is_file(), "relative to the repository, where the README runs it"
    assert path.read_text().startswith("# "), "it says what it is for"
