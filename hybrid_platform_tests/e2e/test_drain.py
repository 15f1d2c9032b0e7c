"""Real signals to real processes during a run: drained, balanced, checked by postflight, marked clean (S13)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.host.pressure import read_pressure
from hybrid_platform_tests.support import (
    Artifacts,
    RunningProcess,
    child_environment,
    make_csv_rows,
    merge_settings,
    replay_feed,
    start_cli,
    start_job,
    synthetic_feed,
    wait_until,
    write_csv,
)

pytestmark = pytest.mark.scenario("S13")

LONG = merge_settings({"seconds": 600}, synthetic_feed(200))
RUNNING = "execution task started (shadow adapter, NO NETWORK)"
THREAD = {"isolation": "thread"}


def require_drained(artifacts: Artifacts, exit_reason: str) -> None:
    """Check that a stopped session ended like one whose feed ended."""
    session = artifacts.session
    assert (session["state"], session["exit_code"], session["exit_reason"]) == ("COMPLETE", 0, exit_reason)
    assert session["is_clean"] == 1
    evidence = artifacts.evidence("session")
    assert evidence["ledger"]["balances"] and evidence["clean"]
    assert artifacts.evidence("postflight")["verdict"] == "PASS"
    (final,) = artifacts.logged("FINAL METRICS")
    assert final["tick_count"] == artifacts.count("ticks") > 0
    assert final["trade_count"] == artifacts.count("trades")
    assert set(final["queue_depths"].values()) == {0}
    assert artifacts.report.rstrip().endswith("**PASS**")


@pytest.fixture
def contended_cpu() -> Iterator[None]:
    """Two processes that compete for one core, once the kernel reports the pressure."""
    loop = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass"
    hogs = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(2)]
    try:
        wait_until(lambda: read_pressure(SystemClock()).percent > 1, "CPU pressure", 30)
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_signal_to_the_cli_drains_the_session(tmp_path: Path, number: signal.Signals):
    with start_cli(tmp_path, "shadow-run", settings=LONG) as running:
        running.wait_for("signal generated")
        running.send(number)
        time.sleep(0.05)
        running.send(number)  # a second signal does not interrupt the drain
        ended = running.end()
    assert ended.code == 0, ended.text
    assert "Traceback" not in ended.text
    require_drained(Artifacts(tmp_path / "data"), number.name)


def test_signal_during_a_fast_replay_keeps_all_ticks(tmp_path: Path):
    """Every tick that was read before the signal is stored, without a gap."""
    write_csv(tmp_path / "long.csv", make_csv_rows(150_000))
    with start_cli(tmp_path, "shadow-run", settings=merge_settings(THREAD, replay_feed("long.csv"))) as running:
        running.wait_for("signal generated", times=50)
        running.send(signal.SIGTERM)
        ended = running.end()
    artifacts = Artifacts(tmp_path / "data")
    assert ended.code == 0, ended.text
    require_drained(artifacts, "SIGTERM")
    ticks = artifacts.count("ticks")
    assert ticks < 150_000
    assert artifacts.rows("SELECT max(seq) AS last FROM ticks")[0]["last"] == ticks, "the first ticks, without a gap"


@pytest.mark.skipif(not Path("/proc/pressure/cpu").exists(), reason="no PSI on this host")
def test_signal_during_preflight_starts_nothing(tmp_path: Path, contended_cpu: None):
    """The run ends with exit code 0 and reports that no session began."""
    waiting = {**LONG, "gates": {"cpu_pressure_limit": 0.01, "pressure_wait_seconds": 300}}
    with start_cli(tmp_path, "shadow-run", settings=waiting) as running:
        running.wait_for("waiting for CPU pressure to fall")
        running.send(signal.SIGTERM)
        ended = running.end()
    artifacts = Artifacts(tmp_path / "data")
    assert ended.code == 0, "a requested stop must not be restarted"
    assert "stopped by SIGTERM before the session began" in ended.err
    assert artifacts.session["state"] == "REFUSED"
    assert artifacts.count("ticks") == 0
    assert not ended.logged(RUNNING)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_signal_during_startup_is_reported(tmp_path: Path, number: signal.Signals):
    """Nothing is written, the exit code is 0, and one line names the signal."""
    script = (
        "import os\n"
        "from hybrid_platform.cli import run\n"
        "from hybrid_platform.cli.main import main\n"
        "read = run.read_settings\n"
        "def signalled(*given, **more):\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    return read(*given, **more)\n"
        "run.read_settings = signalled\n"
        "main(['shadow-run'])\n"
    )
    with RunningProcess(tmp_path, [sys.executable, "-c", script], child_environment(tmp_path)) as running:
        ended = running.end()
    said = f"stopped by {number.name} before the session began: nothing was written\n"
    assert (ended.code, ended.out, ended.err) == (0, "", said)
    assert not (tmp_path / "data").exists()


def test_second_sigterm_to_a_dagster_run_keeps_postflight(tmp_path: Path):
    """The UI terminates with SIGINT; test_code_server.py covers that."""
    with start_job(tmp_path, LONG) as running:
        running.wait_for("signal generated")
        running.send(signal.SIGTERM)
        time.sleep(0.05)
        running.send(signal.SIGTERM)
        ended = running.end()
    assert ended.code == 0, ended.text
    assert "Traceback" not in ended.text
    require_drained(Artifacts(tmp_path / "data"), "TERMINATED")
