"""A full disk: the error names it, committed rows are kept, and the next session runs (L4)."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hybrid_platform_tests.support import (
    Artifacts,
    make_csv_rows,
    merge_settings,
    replay_feed,
    run_cli,
    synthetic_feed,
    write_csv,
)

MB = 1 << 20


def files_up_to(size: int) -> Callable[[], None]:
    """Return a function that limits the file size of a child, which SQLite reports like a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.scenario("L4", "S1")
def test_full_disk_at_the_start_is_named_at_the_gate(tmp_path: Path):
    settings = merge_settings(synthetic_feed(20), {"seconds": 1, "isolation": "thread"})
    ended = run_cli(tmp_path, "shadow-run", settings=settings, before=files_up_to(MB // 2))
    assert ended.code == 1, ended.text
    assert "Traceback" not in ended.text
    artifacts = Artifacts(tmp_path / "data")
    (reason,) = artifacts.evidence("pragma")["reasons"]
    assert reason.endswith("[FULL]")
    assert reason in ended.err
    assert artifacts.session["state"] == "REFUSED"


@pytest.mark.scenario("L4", "L3")
def test_full_disk_keeps_committed_rows(tmp_path: Path):
    write_csv(tmp_path / "long.csv", make_csv_rows(80_000))
    small = {"isolation": "thread", "storage": {"batch_rows": 2_000}, "strategy": {"params": {"every": 1000}}}
    settings = merge_settings(replay_feed("long.csv"), small)
    ended = run_cli(tmp_path, "shadow-run", settings=settings, before=files_up_to(4 * MB))
    artifacts = Artifacts(tmp_path / "data")
    assert ended.code == 1, ended.text
    assert "Traceback" not in ended.err
    evidence = artifacts.evidence("session")
    assert (evidence["state"], evidence["exit_code"]) == ("FAILED", 1)
    assert "[FULL]" in evidence["failure"] and "persist" in evidence["failure"]
    committed = evidence["counters"]["persist_count"]
    kept = sum(
        artifacts.count(table) for table in ("ticks", "signals", "orders", "order_events", "trades", "heartbeats")
    )
    assert 0 < committed <= kept
    assert artifacts.rows("SELECT max(seq) AS last, count(*) AS n FROM ticks")[0] == {
        "last": artifacts.count("ticks")
    } | {"n": artifacts.count("ticks")}
    assert artifacts.evidence("postflight")["verdict"] == "FAIL"
    short = merge_settings(settings, {"feed": {"replay": {"limit": 100}}})
    assert run_cli(tmp_path, "shadow-run", settings=short).code == 0, "with free space again, the next session runs"
    assert artifacts.count("ticks") == 100
    assert artifacts.rows("PRAGMA integrity_check")[0] == {"integrity_check": "ok"}


@pytest.mark.scenario("L4", "G5")
@pytest.mark.skipif("HYBRID_PLATFORM_TEST_LONG" not in os.environ, reason="`make faults`: needs the right to mount")
def test_evidence_fits_on_a_full_file_system(tmp_path: Path):
    """The session's disk reserve is released for its evidence."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this account may not mount a tmpfs")
    try:
        write_csv(tmp_path / "long.csv", make_csv_rows(120_000))
        settings = merge_settings(
            replay_feed("long.csv"),
            {"isolation": "thread", "data_dir": str(disk / "data"), "gates": {"min_free_disk_mb": 1}},
            {"storage": {"batch_rows": 2_000}, "strategy": {"params": {"every": 1000}}},
        )
        ended = run_cli(tmp_path, "shadow-run", settings=settings)
        artifacts = Artifacts(disk / "data")
        assert ended.code == 1, ended.text
        assert "Traceback" not in ended.text
        assert "[FULL]" in artifacts.evidence("session")["failure"] and "[FULL]" in ended.err
        assert artifacts.evidence("postflight")["verdict"] == "FAIL"
        assert "**FAIL**" in artifacts.report
        assert artifacts.session["state"] == "FAILED"
        assert 0 < artifacts.count("ticks") < 120_000
    finally:
        subprocess.run(["umount", str(disk)], check=True)
