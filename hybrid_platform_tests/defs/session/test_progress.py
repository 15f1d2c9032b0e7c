"""Progress of a running session in the UI, and the checks that run alone."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest

from hybrid_platform.defs.session import progress
from hybrid_platform_tests.defs.conftest import Launcher
from hybrid_platform_tests.support import replay_feed, synthetic_feed, write_csv

SHORT = {"seconds": 0.1, "isolation": "thread", **synthetic_feed(100)}


def test_a_running_session_is_observed_with_plain_numbers(launch: Launcher, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "OBSERVE_INTERVAL_S", 0.3)
    job = launch(SHORT, {"seconds": 1.5})
    kind = dg.DagsterEventType.ASSET_OBSERVATION
    seen = [
        event.asset_observation_data.asset_observation for event in job.result.all_events if event.event_type is kind
    ]
    assert len(seen) >= 2
    assert {one.asset_key.to_user_string() for one in seen} == {"shadow_run"}
    numbers = [{name: value.value for name, value in one.metadata.items()} for one in seen]
    assert all(isinstance(value, int | float) for value in numbers[0].values())
    ticks = [one["ticks"] for one in numbers]
    assert 0 < ticks[0] < ticks[-1] <= 151
    assert {"ticks_per_second", "signals", "orders", "trades", "vetoes", "dropped"} <= numbers[0].keys()


def checks_of(launch: Launcher) -> list[str]:
    return sorted(path.name.rpartition("-")[2] for path in (launch.data_dir / "evidence" / "checks").iterdir())


@pytest.mark.scenario("G1", "G2")
def test_postflight_alone_judges_the_last_session(launch: Launcher, tmp_path: Path):
    assert launch(job="preflight").result.success, "a database that does not exist yet is new"
    assert not launch.data_dir.joinpath("bot.db").exists(), "a check makes none"
    alone = launch(job="postflight")
    assert not alone.result.success
    assert "expected a database" in alone.failures[0]
    assert launch(SHORT).result.success
    assert launch(job="postflight").result.success
    bad = write_csv(tmp_path / "bad.csv", ["garbage"])
    assert not launch(replay_feed(bad), {"isolation": "thread"}).result.success
    judged = launch(job="postflight")
    assert not judged.result.success
    assert judged.tags["exit_code"] == "11"
    assert "FAILED" in judged.failures[0]
    assert checks_of(launch) == ["postflight.json"] * 3 + ["preflight.json"]
    assert len(judged.artifacts.sessions) == 2, "a check is not a session"


@pytest.mark.scenario("G2")
def test_a_check_above_the_pressure_limit_fails_with_its_evidence(launch: Launcher):
    job = launch({"gates": {"cpu_pressure_limit": 0}}, job="preflight")
    assert not job.result.success
    assert job.failures[0].startswith("CPU pressure: ")
    (path,) = (launch.data_dir / "evidence" / "checks").iterdir()
    evidence = json.loads(path.read_text())
    assert (evidence["verdict"], evidence["exit_code"]) == ("FAIL", 13)
    assert job.tags["exit_code"] == "13"
