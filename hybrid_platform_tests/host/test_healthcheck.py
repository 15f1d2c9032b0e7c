"""The healthcheck (G1, I7): lines, verdicts and time limit."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.records import DatabaseReport, HealthcheckItem, HealthcheckRecord, Verdict
from hybrid_platform.host.healthcheck import ProbeDatabase, format_health_lines, run_healthcheck

GOOD = DatabaseReport(exists=True, readable=True, schema="0001", ticks=61)
ABSENT = DatabaseReport(exists=False, readable=False, schema=None, ticks=None)


class WallAt:
    """The host's clocks, with a wall clock fixed at one time."""

    def __init__(self, wall_ns: int) -> None:
        self._wall_ns = wall_ns

    def monotonic_ns(self) -> int:
        return SystemClock().monotonic_ns()

    def wall_ns(self) -> int:
        return self._wall_ns


@pytest.fixture
def dashboard() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def check(tmp_path: Path, probe: ProbeDatabase, port: int = 1, **options: object) -> HealthcheckRecord:
    return run_healthcheck(probe, tmp_path, SystemClock(), dashboard_port=port, **options)  # type: ignore[arg-type]


def item(record: HealthcheckRecord, name: str) -> HealthcheckItem:
    return next(found for found in record.items if found.name == name)


@pytest.mark.scenario("G1")
def test_a_healthy_host_prints_one_line_per_item_and_passes(tmp_path: Path, dashboard: int) -> None:
    lines = format_health_lines(check(tmp_path, lambda: GOOD, dashboard))
    patterns = [
        r"\[health\] time: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",
        r"\[health\] db: readable, schema 0001",
        rf"\[health\] port: {dashboard} open",
        r"\[health\] ticks: 61",
        r"\[health\] disk: \d+ MB free",
        r"\[health\] clock: .+",
        r"\[health\] PASS",
    ]
    assert len(lines) == len(patterns)
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line


@pytest.mark.scenario("G1")
def test_a_closed_dashboard_port_is_reported_and_not_required(tmp_path: Path, closed_port: int) -> None:
    record = check(tmp_path, lambda: GOOD, closed_port)
    assert (item(record, "port").verdict, record.verdict) == (Verdict.FAIL, Verdict.PASS)
    assert f"[health] port: {closed_port} closed (not required)" in format_health_lines(record)


@pytest.mark.scenario("G1")
def test_a_missing_database_passes_the_preflight_and_fails_the_command(tmp_path: Path) -> None:
    preflight = format_health_lines(check(tmp_path, lambda: ABSENT, allow_missing_database=True))
    assert "[health] db: new" in preflight
    assert "[health] ticks: 0" in preflight
    assert preflight[-1] == "[health] PASS"
    alone = format_health_lines(check(tmp_path, lambda: ABSENT))
    assert alone[-1] == "[health] FAIL: db: expected a database, there is none yet"


@pytest.mark.scenario("G1")
@pytest.mark.parametrize(
    ("report", "why"),
    [
        (DatabaseReport(True, False, None, None, "file is not a database"), "db: expected to be readable, was: file"),
        (DatabaseReport(True, True, None, None), "db: expected the schema, got none; ticks: unknown"),
        (DatabaseReport(True, True, "0001", None), "ticks: unknown"),
    ],
)
def test_a_wrong_database_fails_with_the_reason(tmp_path: Path, report: DatabaseReport, why: str) -> None:
    record = check(tmp_path, lambda: report, allow_missing_database=True)
    assert record.verdict is Verdict.FAIL
    assert record.why.startswith(why)
    assert format_health_lines(record)[-1] == f"[health] FAIL: {record.why}"


def test_a_line_break_in_a_database_error_is_escaped(tmp_path: Path) -> None:
    forged = DatabaseReport(True, False, None, None, "broken\n[health] PASS\u202e")
    lines = format_health_lines(check(tmp_path, lambda: forged))
    assert len(lines) == 7
    assert all(line.isprintable() for line in lines)


def test_a_probe_that_raises_fails_without_showing_its_message(tmp_path: Path) -> None:
    def broken() -> DatabaseReport:
        raise OSError("postgresql://u:hunter2@h/db")

    record = check(tmp_path, broken)
    assert record.why == "db: raised OSError; ticks: raised OSError"


@pytest.mark.scenario("G1")
def test_too_little_disk_space_fails(tmp_path: Path) -> None:
    record = check(tmp_path, lambda: GOOD, min_free_disk_mb=10**12)
    assert re.fullmatch(r"disk: \d+ MB free, expected at least 1000000000000 MB", record.why)


@pytest.mark.scenario("G1")
@pytest.mark.parametrize("wall_ns", [0, 4_102_444_800 * 10**9])
def test_a_clock_at_the_epoch_or_in_the_next_century_fails(tmp_path: Path, wall_ns: int) -> None:
    record = run_healthcheck(lambda: GOOD, tmp_path, WallAt(wall_ns), dashboard_port=1)
    assert [found.name for found in record.items if found.required and found.verdict is Verdict.FAIL] == ["time"]


@pytest.mark.scenario("I7")
def test_a_hanging_database_fails_without_delaying_other_items(tmp_path: Path) -> None:
    release = threading.Event()

    def hanging() -> DatabaseReport:
        release.wait(60)
        return GOOD

    try:
        record = check(tmp_path, hanging, time_limit_seconds=0.3)
    finally:
        release.set()
    assert record.why == "db: no answer within 0.3 s; ticks: no answer within 0.3 s"
    assert item(record, "disk").verdict is Verdict.PASS
    assert 0.3 <= record.took_s < 60


@pytest.mark.scenario("I7")
def test_the_healthcheck_imports_no_heavy_library() -> None:
    code = (
        "import sys, hybrid_platform.host.healthcheck, hybrid_platform.host.pressure\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules} & set(sys.argv[1:])))"
    )
    heavy = ["dagster", "pandas", "numpy", "sqlalchemy", "pydantic", "pyarrow", "yaml", "psutil"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
