"""Settings: every fault named at once, frozen, hashed, and layered in one order."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from hybrid_platform.domain.errors import ConfigError, ExitCode
from hybrid_platform.settings.descriptions import meanings_of
from hybrid_platform.settings.loading import load_settings, parse_assignment, read_yaml
from hybrid_platform.settings.session import Mode, SessionSettings
from hybrid_platform.settings.websocket import FeedSource, FrameFormat
from hybrid_platform.strategies.base import Params


@pytest.mark.scenario("G0")
def test_default_mode_is_shadow_and_unarmed():
    settings = load_settings(environ={})
    assert (settings.mode, settings.live_armed) == (Mode.SHADOW, False)


def test_reference_run_is_the_default():
    settings = load_settings(environ={})
    assert settings.seconds == 30
    assert settings.feed.synthetic.ticks_per_second == 2
    assert (settings.strategy.name, settings.risk.max_open_orders) == ("periodic", 10)


@pytest.mark.parametrize(
    ("layer", "faults"),
    [
        ({"mode": "DEMO"}, ["mode: expected 'SHADOW', 'PAPER' or 'LIVE', got 'DEMO'"]),
        ({"risk": {"max_exposure": 1}}, ["risk.max_exposure", "max_exposure_usd", "got 1"]),
        ({"risk": {"max_exposure_usd": "1_000"}}, ["risk.max_exposure_usd: expected a decimal number, got '1_000'"]),
        ({"risk": {"max_exposure_usd": float("nan")}}, ["risk.max_exposure_usd"]),
        ({"risk": {"max_open_orders": -1}, "seconds": 0}, ["risk.max_open_orders", "seconds"]),
        ({"seconds": True}, ["seconds", "got True"]),
        ({"risk": {"max_open_orders": True}}, ["risk.max_open_orders", "got True"]),
        ({"feed": {"kind": "replay"}}, ["feed.kind", "synthetic, replay"]),
        ({"feed": {}}, ["feed: expected exactly one feed"]),
        ({"feed": {"synthetic": {}, "replay": {"path": "x"}}}, ["exactly one feed"]),
        ({"feed": {"replay": {}}}, ["exactly one of `path`"]),
        ({"feed": {"synthetic": {"symbols": ["<img onerror>"]}}}, ["feed.synthetic.symbols.0"]),
        ({"feed": {"replay": {"path": "x", "speed": "fast"}}}, ["feed.replay.speed", "'max'", "'fast'"]),
        ({"storage": {"busy_timeout_ms": 100}}, ["storage.busy_timeout_ms", "5000"]),
        ({"data_dir": ""}, ["data_dir"]),
        (
            {"feed": {"replay": {"path": "x", "columns": {"ts": "t"}}}},
            ["feed.replay.columns.price: expected a value, got nothing"],
        ),
        ({"gates": "off"}, ["gates"]),
        ({"channels": {"on_full": "WAIT"}}, ["channels.on_full", "DROP_OLDEST"]),
    ],
)
def test_each_wrong_setting_is_one_clear_fault(layer, faults):
    with pytest.raises(ConfigError) as caught:
        load_settings(layer, environ={})
    for fault in faults:
        assert fault in str(caught.value)
    assert caught.value.exit_code == ExitCode.CONFIG
    assert "pydantic" not in str(caught.value)


def test_later_layers_win_and_environment_is_lowest():
    environ = {"HYBRID_PLATFORM_GATES__CPU_PRESSURE_LIMIT": "55", "HYBRID_PLATFORM_SECONDS": "7"}
    settings = load_settings({"seconds": 8}, {"seconds": 9}, environ=environ)
    assert (settings.gates.cpu_pressure_limit, settings.seconds) == (55, 9)
    assert load_settings(environ=environ).seconds == 7


@pytest.mark.scenario("S14")
@pytest.mark.parametrize("name", ["HYBRID_PLATFORM_MODE", "HYBRID_PLATFORM_LIVE_ARMED"])
def test_live_is_never_armed_by_the_environment(name):
    with pytest.raises(ConfigError, match=name):
        load_settings(environ={name: "LIVE"})


def test_another_feed_replaces_the_one_below():
    settings = load_settings({"feed": {"synthetic": {"seed": 1}}}, {"feed": {"replay": {"path": "x.csv"}}}, environ={})
    assert settings.feed.kind == "replay"
    assert settings.seconds is None


def test_another_strategy_drops_the_parameters_below():
    below = {"strategy": {"name": "sma_crossover", "params": {"short": 3}}}
    other = load_settings(below, {"strategy": {"name": "periodic", "params": {"every": 5}}}, environ={}).strategy
    assert (other.name, other.params) == ("periodic", {"every": 5})
    assert load_settings(below, {"strategy": {"name": "periodic"}}, environ={}).strategy.params == {}
    same = load_settings(below, {"strategy": {"name": "sma_crossover", "params": {"long": 9}}}, environ={}).strategy
    assert same.params == {"short": 3, "long": 9}
    assert load_settings(below, {"strategy": {"params": {"long": 9}}}, environ={}).strategy.params == same.params


def test_settings_are_frozen_and_hashed():
    one, same, other = (load_settings({"seconds": s}, environ={}) for s in (30, 30.0, 31))
    assert one.config_sha256 == same.config_sha256 != other.config_sha256
    assert one.trading_sha256 == other.trading_sha256
    with pytest.raises(ValidationError):
        one.seconds = 5


def test_trading_settings_change_the_trading_digest():
    base = load_settings(environ={}).trading_sha256
    for layer in (
        {"strategy": {"params": {"every": 11}}},
        {"risk": {"max_open_orders": 9}},
        {"execution": {"fee_bps": 1}},
    ):
        assert load_settings(layer, environ={}).trading_sha256 != base
    for layer in ({"mode": "PAPER"}, {"data_dir": "elsewhere"}, {"gates": {"cpu_pressure_limit": 99}}):
        assert load_settings(layer, environ={}).trading_sha256 == base


@pytest.mark.parametrize("bad", ["seconds", "=3", "a..b=1", "seconds=[", "seconds={a: 1, a: 2}"])
def test_a_wrong_assignment_is_a_config_error(bad):
    with pytest.raises(ConfigError):
        parse_assignment(bad)


def test_an_assignment_reaches_any_depth():
    assert parse_assignment("feed.synthetic.symbols=[A, B]") == {"feed": {"synthetic": {"symbols": ["A", "B"]}}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: 1\na: 2\n", "each key once"),
        (b"- 1\n", "a mapping of settings"),
        (b"a: [", "valid YAML"),
        (b"\xff\xfe\x00", "readable YAML"),
        (b"resources: {session: {}}\n", "resources.session.config"),
        (b"!!python/object/apply:os.system [id]\n", "valid YAML"),
    ],
)
def test_a_bad_settings_file_is_one_clear_fault(tmp_path, content, words):
    path = tmp_path / "settings.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        read_yaml(path)


def test_a_dagster_run_config_is_read_as_the_same_settings(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("resources: {session: {config: {mode: shadow, seconds: 5}}}")
    assert load_settings(read_yaml(path), environ={}).seconds == 5


def test_the_page_of_settings_is_up_to_date():
    from hybrid_platform.settings.reference import page
    from hybrid_platform_tests.conftest import REPOSITORY

    written = (REPOSITORY / "docs" / "settings.md").read_text()
    assert written == page(), "run: python -m hybrid_platform.settings.reference docs/settings.md"


def test_descriptions_are_inherited():
    meanings = meanings_of(FeedSource)
    assert meanings.items() > meanings_of(FrameFormat).items()
    assert set(meanings) < set(FeedSource.model_fields)
    assert meanings_of(Params) == {}
    assert meanings_of(SessionSettings)["mode"] == "SHADOW, PAPER or LIVE."


def test_import_builds_no_validator_and_reads_no_source():
    """Every process would pay for them before it can start, the sandboxed one too."""
    look = (
        "import linecache, sys, hybrid_platform.settings.session as c; "
        "print(c.SessionSettings.__pydantic_complete__, 'hybrid_platform.settings.descriptions' in sys.modules, "
        "any('hybrid_platform' in name for name in linecache.cache))"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"] * 3
