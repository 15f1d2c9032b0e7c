"""Faults between a session's gates and its first stage: they lead to a verdict in the evidence (L4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hybrid_platform.defs.session import assets
from hybrid_platform.maintenance.lease import Lease
from hybrid_platform.session.failed_start import COUNTERS
from hybrid_platform.session.runner import SessionRunner
from hybrid_platform.storage.location import FILE_SUFFIXES
from hybrid_platform_tests.defs.conftest import Job, Launcher
from hybrid_platform_tests.defs.session.test_assets import SHORT, STEPS
from hybrid_platform_tests.support import (
    make_csv_rows,
    merge_settings,
    replay_feed,
    run_in_process,
    start_cli,
    synthetic_feed,
    write_csv,
)

STRATEGY = """
from hybrid_platform.strategies import Params, Strategy
class Mine(Strategy[Params]):
    def on_tick(self, tick):
        return None
"""


class Fault(NamedTuple):
    """Event between preflight and start -> how the session then ends."""

    deed: Callable[[Path], None]
    state: str
    exit_code: int
    exit_reason: str
    words: str
    settings: dict[str, Any]
    has_row: bool = True


def _remove_the_input(folder: Path) -> None:
    (folder / "trades.csv").unlink()


def _delete_the_database(folder: Path) -> None:
    for end in FILE_SUFFIXES:
        (folder / "data" / f"bot.db{end}").unlink(missing_ok=True)


def _overwrite_the_database(folder: Path) -> None:
    (folder / "data" / "bot.db").write_bytes(b"no database" * 1000)


def _make_the_strategy_exit(folder: Path) -> None:
    (folder / "mine_at_start.py").write_text("import os\nos._exit(3)\n")


BEHIND_THE_GUARD = merge_settings(
    synthetic_feed(100), {"strategy": {"name": "mine_at_start:Mine"}, "isolation": "process"}
)
FAULTS = {
    "an input removed": Fault(_remove_the_input, "FAILED", 12, "ConfigError", "trades.csv", {}),
    "the database deleted": Fault(_delete_the_database, "FAILED", 12, "DatabaseError", "got no file", SHORT, False),
    "the database overwritten": Fault(
        _overwrite_the_database, "FAILED", 12, "DatabaseError", "file is not a database", SHORT, False
    ),
    "the sandboxed process dead": Fault(
        _make_the_strategy_exit, "FAILED", 1, "IsolationError", "ended before the strategy was built", BEHIND_THE_GUARD
    ),
}


@pytest.mark.scenario("L4", "G5")
@pytest.mark.parametrize("name", FAULTS)
def test_a_failed_start_is_judged_by_postflight(
    launch: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    fault = FAULTS[name]
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine_at_start.py").write_text(STRATEGY)
    path = write_csv(tmp_path / "trades.csv", make_csv_rows(10))

    def shadow_run(context: Any) -> SessionRunner:
        fault.deed(tmp_path)
        return SessionRunner(context)

    monkeypatch.setattr(assets, "build_runner", shadow_run)
    job = launch(fault.settings or merge_settings(replay_feed(path), {"isolation": "thread"}))
    require_judged(job, fault.state, fault.exit_code, fault.words)
    assert job.tags["exit_reason"] == fault.exit_reason
    if fault.has_row:
        row = job.artifacts.session
        assert (row["state"], row["exit_code"], row["exit_reason"]) == (fault.state, fault.exit_code, fault.exit_reason)
        assert all(job.artifacts.count(table) == 0 for table in ("ticks", "orders", "heartbeats"))
    else:
        assert job.artifacts.logged("the session's row could not be written to the database")
    if name == "the database deleted":
        assert not job.artifacts.database.exists(), "no empty one was created in its place"


@pytest.mark.scenario("L4")
def test_a_session_that_runs_already_refuses_the_next_by_name(launch: Launcher):
    launch.data_dir.mkdir()
    with Lease(launch.data_dir / "bot.db.lease", "the-first"):
        job = launch(SHORT)
    require_judged(job, "REFUSED", 12, "another session holds the lease")
    assert "the-first" in job.artifacts.evidence("session")["failure"]
    row = job.artifacts.session
    assert (row["state"], row["exit_code"]) == ("REFUSED", 12)
    assert row["exit_reason"] == job.tags["exit_reason"] == job.artifacts.evidence("session")["failure"]
    assert job.tags["error"] == job.artifacts.evidence("session")["error"] == "LeaseHeld"
    job = launch(SHORT)
    assert job.result.success, "and the next one continues"
    assert set(COUNTERS) <= set(job.artifacts.evidence("session")["counters"])
    assert "error" not in job.artifacts.evidence("session") and "error" not in job.tags


def require_judged(job: Job, state: str, exit_code: int, words: str) -> None:
    """Check that all four assets exist, that the last one's check failed the run, and that all give the reason."""
    assert not job.result.success
    assert job.materialised == STEPS
    assert job.checks["verdict"] is False and job.checks["session_complete"] is False
    assert job.tags["exit_code"] == str(exit_code)
    evidence = job.artifacts.evidence("session")
    assert (evidence["state"], evidence["exit_code"], evidence["verdict"]) == (state, exit_code, "FAIL")
    assert (evidence["began"], evidence["clean"]) == (False, False)
    assert words in evidence["failure"]
    assert evidence["reasons"] == [evidence["failure"]]
    postflight = job.artifacts.evidence("postflight")
    assert (postflight["verdict"], postflight["exit_code"]) == ("FAIL", exit_code)
    assert f"session: {evidence['failure']}" in postflight["reasons"]
    assert {proof["verdict"] for proof in postflight["proofs"] if proof["id"] in {"I1", "S13", "G4"}} == {"NOT_RUN"}
    assert words in job.artifacts.report
    assert (job.artifacts.data_dir / "evidence" / job.session_id / "report.html").exists()


@pytest.mark.scenario("L4")
def test_the_same_on_the_terminal_is_a_code_and_a_reason(tmp_path: Path):
    """The database is deleted while preflight runs; no other session takes the lease."""
    artifacts = run_in_process(tmp_path / "data", SHORT, with_report=False)
    with (
        Lease(artifacts.data_dir / "bot.db.lease", "the-first"),
        start_cli(tmp_path, "shadow-run", settings=SHORT) as again,
    ):
        ended = again.end()
    assert ended.code == 12, ended.text
    assert "Traceback" not in ended.text
    assert "the-first" in ended.err and "report.md" in ended.err
    assert artifacts.evidence("session")["state"] == "REFUSED"
    assert artifacts.evidence("postflight")["verdict"] == "FAIL"
    assert artifacts.logged("session failed to start")
