"""The flight recorder: complete, private, rotated blocks in the documented format."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.records import (
    CpuPressure,
    DatabaseReport,
    LoadAverage,
    PressureAverages,
    PressureSource,
    ResourcePressure,
    Verdict,
)
from hybrid_platform.host.flight_recorder import ROTATE_BYTES, format_snapshot, take_snapshot
from hybrid_platform.host.healthcheck import run_healthcheck
from hybrid_platform.host.pressure import read_pressure
from hybrid_platform.security.paths import DataDir

CPU = ResourcePressure(PressureAverages(2.79, 1.54, 0.4, 7106032), PressureAverages(0.0, 0.0, 0.0, 0))


def test_a_snapshot_has_the_documented_format() -> None:
    pressure = CpuPressure(0, PressureSource.PSI, 7.5, cpu=CPU)
    block = format_snapshot(1_767_323_045_000_006_000, 12.5, LoadAverage(0.5, 0.25, 0.1), pressure, Verdict.PASS)
    assert block == (
        "=== [2026-01-02T03:04:05.000006Z] Flight Recorder Snapshot ===\n"
        "UPTIME: 12.50 s\n"
        "LOAD: 0.50 0.25 0.10\n"
        "CPU_PRESSURE:\n"
        "some avg10=2.79 avg60=1.54 avg300=0.40 total=7106032\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
        "HEALTHCHECK: PASS\n"
        "\n"
    )


@pytest.mark.scenario("G2")
def test_unknown_values_are_unavailable_in_a_snapshot() -> None:
    block = format_snapshot(0, None, None, CpuPressure(0, PressureSource.UNAVAILABLE, 37.5), Verdict.FAIL)
    assert "UPTIME: UNAVAILABLE\nLOAD: UNAVAILABLE\nCPU_PRESSURE: UNAVAILABLE (load 37.5 % of the cores)\n" in block
    assert "HEALTHCHECK: FAIL\n" in block


def test_snapshots_of_this_host_are_appended_and_rotated(tmp_path: Path) -> None:
    clock, files = SystemClock(), DataDir(tmp_path / "data")
    report = DatabaseReport(exists=True, readable=True, schema="0001", ticks=0)
    health = run_healthcheck(lambda: report, tmp_path, clock)
    blocks = [take_snapshot(files, clock, read_pressure(clock), health) for _ in range(3)]
    log = tmp_path / "data" / "logs" / "health_snapshots.log"
    assert log.read_text() == "".join(blocks)
    assert log.stat().st_mode & 0o777 == 0o600
    assert len(re.findall(r"^=== \[[^]]+Z\] Flight Recorder Snapshot ===$", log.read_text(), re.MULTILINE)) == 3
    with log.open("ab") as file:
        file.truncate(ROTATE_BYTES)
    last = take_snapshot(files, clock, read_pressure(clock), health)
    assert log.read_text() == last
    assert log.with_name("health_snapshots.log.1").stat().st_size == ROTATE_BYTES
