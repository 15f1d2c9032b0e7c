"""A short soak test in which no resource grows, and the soak's judge on artificial leaks."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hybrid_platform_tests.support import PROCESS_TIMEOUT_S, REPOSITORY, child_environment

SOAK = REPOSITORY / "benchmarks" / "soak.py"


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    spec = importlib.util.spec_from_file_location("soak", SOAK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def series(soak: ModuleType, **changes) -> list[dict[str, float | None]]:
    """Return samples of a flat hour; each change replaces a series by a function of time in seconds."""
    flat = dict.fromkeys(soak.bounds(4, 4, 250), 10.0)
    return [
        {"t_s": float(t), **flat, **{name: value(t) for name, value in changes.items()}} for t in range(0, 3600, 30)
    ]


@pytest.mark.scenario("S6", "I6")
def test_resources_stay_flat_while_a_session_runs(tmp_path: Path):
    """Memory, file descriptors, threads and the write-ahead log do not grow."""
    result, picture = tmp_path / "soak.json", tmp_path / "soak.png"
    command = [sys.executable, str(SOAK), "--seconds", "7", "--rate", "1000", "--sample-seconds", "0.3"]
    # Bounded buffers still fill, and no checkpoint is due in this time.
    command += ["--rss-growth-mib", "24", "--wal-growth-mib", "16", "--lag-growth-ms", "5000"]
    command += ["--json", str(result), "--plot", str(picture), "--folder", str(tmp_path / "run")]
    done = subprocess.run(
        command, env=child_environment(tmp_path), capture_output=True, text=True, timeout=PROCESS_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(result.read_text())
    assert found["verdict"] == "FLAT"
    assert found["session"]["ticks"] == 7_001
    assert found["session"]["ledger_balances"]
    judged = {name: each["verdict"] for name, each in found["judged"].items()}
    assert {verdict for name, verdict in judged.items() if not name.endswith("_fds")} == {"FLAT"}
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "leak"),
    [
        ("session_rss_mib", lambda t: 100 + t / 300),
        ("child_fds", lambda t: 7 + t // 1800),
        ("session_threads", lambda t: 12 + t // 1000),
        ("wal_mib", lambda t: 65.0 if t == 900 else 16.0),
    ],
)
def test_judge_names_the_series_that_grows(soak: ModuleType, name: str, leak):
    judged = soak.judge(series(soak, **{name: leak}), soak.bounds(4, 4, 250))
    assert {each for each, found in judged.items() if found["verdict"] != "FLAT"} == {name}
    assert soak.describe_fault(name, judged[name]).startswith(f"{name}: expected at most ")


def test_a_spike_does_not_count_as_growth(soak: ModuleType):
    judged = soak.judge(series(soak, session_rss_mib=lambda t: 900.0 if t == 3000 else 100.0), soak.bounds(4, 4, 250))
    assert judged["session_rss_mib"]["verdict"] == "FLAT"


def test_unreadable_series_is_not_called_flat(soak: ModuleType):
    judged = soak.judge(series(soak, child_fds=lambda t: None, wal_mib=lambda t: None), soak.bounds(4, 4, 250))
    assert judged["child_fds"]["verdict"] == judged["wal_mib"]["verdict"] == "UNREADABLE"
    assert soak.describe_fault("child_fds", judged["child_fds"]) is None, (
        "both processes are hidden from other processes of their user"
    )
    assert soak.describe_fault("wal_mib", judged["wal_mib"]) is not None
