"""The steps of a run are done in order, up to the one that is asked for."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.evidence.records import PRAGMA, PREFLIGHT, SESSION
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.run.open import open_run
from hybrid_platform.run.steps import Step, build_runner, run_steps
from hybrid_platform.settings.loading import load_settings
from hybrid_platform_tests.support import Artifacts, Settings, merge_settings, synthetic_feed


@contextmanager
def opened(data_dir: Path, *layers: Settings) -> Iterator[RunContext]:
    settings = load_settings(merge_settings({"data_dir": str(data_dir), "isolation": "thread"}, *layers), environ={})
    clock = SystemClock()
    with open_run(
        settings, run_id=str(uuid.uuid4()), created_ns=clock.wall_ns(), clock=clock, stream=io.StringIO()
    ) as run:
        yield run


def test_a_run_ends_with_the_step_that_is_asked_for(tmp_path: Path):
    with opened(tmp_path / "data") as run:
        result = run_steps(run, last=Step.DATABASE)
    assert [step.kind for step in result.steps] == [PREFLIGHT, PRAGMA]
    assert (result.decisive.exit_code, result.report) == (0, None)
    assert Artifacts(tmp_path / "data").sessions == []


@pytest.mark.scenario("G2")
def test_a_failed_gate_skips_the_session_and_is_reported(tmp_path: Path):
    with opened(tmp_path / "data", {"gates": {"cpu_pressure_limit": 0}}) as run:
        result = run_steps(run)
    assert [step.kind for step in result.steps] == [PREFLIGHT]
    assert result.decisive.exit_code
    assert result.report is not None and result.report.exists()


@pytest.mark.scenario("S13")
def test_a_stop_before_the_start_drains_the_session_at_once(tmp_path: Path):
    """A signal may come while the session is still being started."""
    with opened(tmp_path / "data", synthetic_feed(10, ticks=10_000)) as run:
        run_steps(run, last=Step.DATABASE)
        runner = build_runner(run)
        with pytest.raises(RuntimeError, match="not started"):
            runner.finish()
        runner.request_stop("SIGTERM")
        runner.start()
        assert runner.wait(60)
        evidence = runner.finish()
    assert (evidence.kind, evidence.exit_code, evidence.exit_reason) == (SESSION, 0, "SIGTERM")
