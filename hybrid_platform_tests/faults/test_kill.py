"""kill -9 at random instants: nothing reported is lost, nothing is there twice, the next start goes on (S12, S13).

A killed process proves nothing about a power cut: with synchronous NORMAL the last commits may go with it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_platform_tests.code_server import Ui
from hybrid_platform_tests.faults.kills import LONG, ROUNDS, Rounds

pytestmark = pytest.mark.scenario("S12", "S13", "I3", "L4")
SHARE = max(1, ROUNDS // 5)
"""Of every five rounds two kill the run, one the guarded child, one the worker, one the code server."""


def test_killed_run_is_marked_and_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rounds = Rounds(tmp_path / "data")
    for number in range(SHARE):
        isolation = ("process", "thread")[number % 2]
        rounds.kill_the_run(tmp_path, {**LONG, "isolation": isolation})
        rounds.kill_the_child(tmp_path, {**LONG, "isolation": "process"})
        rounds.kill_the_run(tmp_path, {**LONG, "isolation": ("thread", "process")[number % 2]})
    say(rounds.require(tmp_path, {**LONG, "isolation": "thread"}), capsys)


def test_killed_dagster_process_loses_nothing(ui: Ui, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The code server only started the run: without it the session goes on, and drains when it is told to."""
    rounds = Rounds(tmp_path / "data")
    settings = {**LONG, "isolation": "thread", "data_dir": str(tmp_path / "data")}
    for _ in range(SHARE):
        rounds.kill_the_worker(ui, settings)
        rounds.kill_the_code_server(ui, settings)
    say(rounds.require(tmp_path, settings), capsys)


def say(summary: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Show the sum of many rounds, which is what they are for."""
    if ROUNDS > 5:
        with capsys.disabled():
            print(f"\n{summary}")
