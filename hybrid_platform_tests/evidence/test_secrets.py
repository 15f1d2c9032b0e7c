"""A secret that reaches a session in any way appears neither in its files nor in its output."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hybrid_platform_tests.support import InProcessRun, make_csv_rows, replay_feed, run_in_process, write_csv

SECRET = "hunter2hunter2hunter2"
RAISING = f"""
from hybrid_platform.strategies.base import Params, Strategy

class Raises(Strategy[Params]):
    def on_tick(self, tick):
        raise ConnectionError(
            "cannot reach postgresql://bot:{SECRET}@db.example/bot with Bearer {SECRET}9, "
            "env {{'PGPASSWORD': '{SECRET}', 'API_TOKEN': '{SECRET}'}}"
        )
"""


@pytest.fixture
def rogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/raising_strategy.py").write_text(RAISING)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    yield "raising_strategy:Raises"
    sys.modules.pop("raising_strategy", None)


def leaks(run: InProcessRun) -> list[str]:
    """Return the files that contain the secret, the database included."""
    found = [str(path) for path in run.data_dir.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    return found + (["the output"] if SECRET in run.output else [])


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_a_secret_in_a_strategys_exception(tmp_path, rogue, isolation):
    path = write_csv(tmp_path / "trades.csv", make_csv_rows(20))
    run = run_in_process(tmp_path / "data", replay_feed(path), {"strategy": {"name": rogue}, "isolation": isolation})
    assert run.code == 1
    assert "cannot reach postgresql" in run.output
    assert leaks(run) == []


def test_a_secret_where_a_symbol_should_be(tmp_path):
    rows = [*make_csv_rows(20), f"1700000100000,100,1,API_KEY={SECRET}", f"1700000101000,100,1,Bearer {SECRET}"]
    run = run_in_process(tmp_path / "data", replay_feed(write_csv(tmp_path / "trades.csv", rows)))
    assert run.steps["session"].rejected == {"bad_symbol": 2}
    assert leaks(run) == []
