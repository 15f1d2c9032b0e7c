"""Dagster's own storage locked or lost while a session runs: the session does not depend on it (L4)."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from hybrid_platform.defs.session import assets
from hybrid_platform.session.runner import SessionRunner
from hybrid_platform_tests.defs.conftest import Launcher
from hybrid_platform_tests.defs.session.test_assets import SHORT, STEPS
from hybrid_platform_tests.support import Artifacts

LOCKED_SECONDS = 8.0 if "HYBRID_PLATFORM_TEST_LONG" in os.environ else 1.0
"""`make faults` uses the long time, which exceeds the busy timeout of Dagster's connections."""


@contextmanager
def an_instance(folder: Path) -> Iterator[dg.DagsterInstance]:
    """Open an instance whose storage is in files."""
    with dg.instance_for_test(temp_dir=str(folder)) as instance:
        yield instance


@pytest.mark.scenario("L4")
def test_locked_dagster_storage_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "instance").mkdir()
    timers: list[threading.Timer] = []

    class Locked(SessionRunner):
        """Locks the storage of runs as soon as the session is over."""

        def finish(self) -> Any:
            evidence = super().finish()
            (runs,) = (tmp_path / "instance").rglob("runs.db")
            connection = sqlite3.connect(runs, isolation_level=None, check_same_thread=False)
            connection.execute("BEGIN EXCLUSIVE")
            timers.append(threading.Timer(LOCKED_SECONDS, connection.close))
            timers[-1].start()
            return evidence

    monkeypatch.setattr(assets, "build_runner", Locked)
    with an_instance(tmp_path / "instance") as instance:
        job = Launcher(instance, tmp_path)(SHORT)
    assert len(timers) == 1
    assert job.result.success
    assert job.materialised == STEPS
    assert job.tags["exit_code"] == "0"


@pytest.mark.scenario("L4", "G5")
def test_lost_dagster_storage_leaves_the_session_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The Dagster run fails; the session completes and postflight passes."""
    (tmp_path / "instance").mkdir()

    class Lost(SessionRunner):
        """Deletes the storage while the session runs."""

        def start(self) -> None:
            super().start()
            shutil.rmtree(tmp_path / "instance" / "history")

    monkeypatch.setattr(assets, "build_runner", Lost)
    with an_instance(tmp_path / "instance") as instance:
        launch = Launcher(instance, tmp_path)
        with pytest.raises(Exception, match=r"unable to open database file|no such table"):
            launch(SHORT)
    artifacts = Artifacts(launch.data_dir)
    assert (artifacts.session["state"], artifacts.session["exit_code"]) == ("COMPLETE", 0)
    assert artifacts.evidence("postflight")["verdict"] == "PASS", "the step that runs postflight was allowed to end"
    assert artifacts.report.rstrip().endswith("**PASS**")
    with closing(sqlite3.connect(artifacts.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
