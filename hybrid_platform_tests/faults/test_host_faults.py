"""Faults of the host: no file descriptors, no memory, a stepped clock, a read-only database."""

from __future__ import annotations

import ctypes
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from hybrid_platform.domain.clocks import NS_PER_S, SystemClock
from hybrid_platform.evidence.reproduction import ReproductionVerdict
from hybrid_platform.reproduce.fresh import reproduce_in_sandbox
from hybrid_platform.security.paths import DataDir
from hybrid_platform.storage.location import sqlite_url
from hybrid_platform_tests.faults.damage import run_with_damage
from hybrid_platform_tests.support import Artifacts, merge_settings, run_cli, run_in_process, synthetic_feed

SHORT = merge_settings(synthetic_feed(200), {"seconds": 0.3, "isolation": "thread"})


def descriptors(most: int) -> Callable[[], None]:
    """Return a function that limits the number of open files of a child."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.mark.scenario("L4")
def test_start_without_descriptors_has_evidence(tmp_path: Path):
    ended = run_cli(tmp_path, "shadow-run", settings=SHORT, before=descriptors(9))
    artifacts = Artifacts(tmp_path / "data")
    assert ended.code == 1, ended.text
    assert "Traceback" not in ended.text
    assert "Too many open files" in ended.err
    assert (artifacts.session["state"], artifacts.session["exit_code"]) == ("FAILED", 1)
    assert artifacts.evidence("session")["began"] is False
    assert artifacts.evidence("postflight")["verdict"] == "FAIL"


LEAKS_DESCRIPTORS = """
import os
from hybrid_platform.strategies import Params, Strategy
class Leaks(Strategy[Params]):
    kept = []
    def on_tick(self, tick):
        if tick.seq > 20:
            try:
                while True:
                    self.kept.append(os.open(os.devnull, 0))
            except OSError:
                pass
"""


@pytest.mark.scenario("L4")
def test_running_out_of_descriptors_halts_trading(tmp_path: Path):
    """The strategy runs as a thread and takes all of them; a sandboxed one has its own limit."""
    (tmp_path / "leaks.py").write_text(LEAKS_DESCRIPTORS)
    settings = merge_settings(SHORT, {"seconds": 1, "strategy": {"name": "leaks:Leaks"}})
    ended = run_cli(tmp_path, "shadow-run", settings=settings, before=descriptors(64))
    artifacts = Artifacts(tmp_path / "data")
    assert ended.code == 1, ended.text
    assert "Traceback" not in ended.text
    assert "Too many open files" in artifacts.evidence("session")["failure"] + str(
        artifacts.evidence("session")["reasons"]
    )
    halts = artifacts.logged("trading state changed")
    assert halts and halts[0]["state"] == "HALTED", "without a readable kill switch nothing is traded"
    assert artifacts.session["state"] == "FAILED"
    assert artifacts.count("ticks") == artifacts.evidence("session")["counters"]["tick_count"]


LEAKS_MEMORY = """
from hybrid_platform.strategies import Params, Strategy
class Leaks(Strategy[Params]):
    kept = []
    def on_tick(self, tick):
        if tick.seq > 20:
            self.kept.append(bytearray(8 << 20))
"""


@pytest.mark.scenario("L4", "I1")
def test_memory_leak_ends_only_the_strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "leaks_memory.py").write_text(LEAKS_MEMORY)
    leaks = {"strategy": {"name": "leaks_memory:Leaks"}, "isolation": "process", "isolation_memory_mb": 256}
    ended = run_in_process(tmp_path / "data", synthetic_feed(2_000), {"seconds": 20}, leaks, with_report=False)
    assert ended.code == 1
    session = ended.steps["session"]
    assert (session.state, session.exit_reason) == ("FAILED", "StrategyError"), session.failure
    assert "MemoryError" in session.failure
    assert ended.count("ticks") == session.counters["tick_count"] > 20


class SteppedClock(SystemClock):
    """The clocks of the host, with a wall clock that can be stepped as by a time service."""

    def __init__(self) -> None:
        self.step_s = 0

    def wall_ns(self) -> int:
        return super().wall_ns() + self.step_s * NS_PER_S


@pytest.mark.scenario("G4", "S7", "S8")
@pytest.mark.parametrize("step_s", [-3_600, 3_600], ids=["back", "forward"])
def test_stepped_clock_does_not_disturb_a_session(tmp_path: Path, step_s: int):
    """A step of one hour stops nothing, and the session is reproduced."""
    clock = SteppedClock()
    ended = run_with_damage(
        tmp_path / "data", lambda _: setattr(clock, "step_s", step_s), synthetic_feed(1_000), clock=clock
    )
    session = ended.steps["session"]
    assert (session.state, session.exit_reason, session.verdict) == ("COMPLETE", "SIGTERM", "PASS"), session.reasons
    assert ended.last.verdict == "PASS", ended.last.reasons
    assert session.heartbeats.late == session.heartbeats.missing == 0, "heartbeats use the monotonic clock"
    assert session.pipeline_s < 600, "durations use the monotonic clock"
    stale = session.vetoes.get("STALE_DATA", 0)
    assert stale > 0 if step_s > 0 else stale == 0, "after a step forward the data appear one hour old"
    span = ended.rows("SELECT max(ts_recv) - min(ts_recv) AS ns FROM ticks")[0]["ns"]
    assert span >= 3_500 * NS_PER_S, "the stored times show the step"
    again = reproduce_in_sandbox(DataDir(ended.data_dir), sqlite_url(ended.database), ended.last.session_id)
    assert again.verdict is ReproductionVerdict.PASS, again.reasons


def no_way_around_modes() -> None:
    """Make file modes apply to a child that runs as root."""
    ctypes.CDLL(None).prctl(24, 1)  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE


@pytest.mark.scenario("S1", "L4")
def test_read_only_database_stops_the_next_session(tmp_path: Path):
    """A changed mode does not affect a running session, whose files are open."""
    before = run_with_damage(tmp_path / "data", lambda database: database.chmod(0o444), synthetic_feed(1_000))
    assert before.last.verdict == "PASS", before.last.reasons
    ended = run_cli(tmp_path, "shadow-run", settings=SHORT, before=no_way_around_modes)
    artifacts = Artifacts(tmp_path / "data")
    assert ended.code == 12, ended.text
    assert "Traceback" not in ended.text
    assert not artifacts.has_evidence("session")
    (reason,) = artifacts.evidence("pragma")["reasons"]
    assert "bot.db" in reason and "readonly" in reason.replace(" ", "").replace("-", ""), reason
