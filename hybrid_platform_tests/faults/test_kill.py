"""kill -9 at random instants: no acknowledged row is lost or duplicated, and the next start works (S12, S13).

This proves nothing about a power cut, which may lose the last commits with synchronous NORMAL.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_platform_tests.code_server import Ui
from hybrid_platform_tests.faults.kills import LONG, ROUNDS, KillRounds

pytestmark = pytest.mark.scenario("S12", "S13", "I3", "L4")
SHARE = max(1, ROUNDS // 5)
"""Of every five rounds, two kill the run, one the sandboxed child, one the worker, one the code server."""


def test_killed_run_is_marked_and_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rounds = KillRounds(tmp_path / "data")
    for number in range(SHARE):
        isolation = ("process", "thread")[number % 2]
        rounds.kill_the_run(tmp_path, {**LONG, "isolation": isolation})
        rounds.kill_the_child(tmp_path, {**LONG, "isolation": "process"})
        rounds.kill_the_run(tmp_path, {**LONG, "isolation": ("thread", "process")[number % 2]})
    print_summary(rounds.check(tmp_path, {**LONG, "isolation": "thread"}), capsys)


def test_killed_dagster_process_loses_nothing(ui: Ui, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Without its code server a session continues, and drains on SIGTERM."""
    rounds = KillRounds(tmp_path / "data")
    settings = {**LONG, "isolation": "thread", "data_dir": str(tmp_path / "data")}
    for _ in range(SHARE):
        rounds.kill_the_worker(ui, settings)
        rounds.kill_the_code_server(ui, settings)
    print_summary(rounds.check(tmp_path, settings), capsys)


def print_summary(summary: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Print the summary of many rounds."""
    if ROUNDS > 5:
        with capsys.disabled():
            print(f"\n{summary}")
