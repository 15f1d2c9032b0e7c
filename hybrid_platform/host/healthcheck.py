"""The healthcheck: whether the host is fit for a session, answered within a time limit (G1, I7).

in: a probe of the database, the data directory, the dashboard's port · out: a `HealthcheckRecord` and its printed
lines. Probes run concurrently in daemon threads: one that hangs (a locked database, a dead network disk) fails its
item and delays no other.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from hybrid_platform.domain.clocks import NS_PER_S, Clock, iso_utc
from hybrid_platform.domain.records import ClockSync, DatabaseReport, HealthcheckItem, HealthcheckRecord, Verdict
from hybrid_platform.host.clock_sync import read_clock_sync
from hybrid_platform.host.system import disk_free_bytes

TIME_LIMIT_SECONDS = 10.0
PORT_TIMEOUT_SECONDS = 0.5
MIB = 1024 * 1024
_SANE_NS = (1_735_689_600 * NS_PER_S, 4_102_444_800 * NS_PER_S)
"""2025-01-01 to 2100-01-01: a clock outside this range has lost its battery or was set wrongly."""

ProbeDatabase = Callable[[], DatabaseReport]
"""Probes the database read-only and may take long; faults are in the report's redacted detail."""
Result = TypeVar("Result")


def run_healthcheck(
    probe_database: ProbeDatabase,
    data_dir: Path,
    clock: Clock,
    *,
    dashboard_port: int = 8501,
    min_free_disk_mb: int = 100,
    require_clock_sync: bool = False,
    allow_missing_database: bool = False,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
    read_sync: Callable[[], ClockSync] = read_clock_sync,
) -> HealthcheckRecord:
    """Run all probes and judge their results; return within ``time_limit_seconds``.

    With ``allow_missing_database`` a database that does not exist yet passes, as the preflight needs it; the
    command ``healthcheck`` fails instead.
    """
    began = clock.monotonic_ns()
    deadline = began + int(time_limit_seconds * NS_PER_S)
    database = TimedProbe(probe_database)
    port = TimedProbe(lambda: _is_port_open(dashboard_port))
    disk = TimedProbe(lambda: disk_free_bytes(data_dir))
    probes = (database, port, disk)
    for probe in probes:
        probe.start()
    for probe in probes:
        probe.done.wait(max(0, deadline - clock.monotonic_ns()) / NS_PER_S)
    now = clock.wall_ns()
    items = (
        _judge_time(now),
        database.judge("db", time_limit_seconds, lambda report: _judge_database(report, allow_missing_database)),
        port.judge("port", time_limit_seconds, lambda is_open: _judge_port(is_open, dashboard_port)),
        database.judge("ticks", time_limit_seconds, _judge_ticks),
        disk.judge("disk", time_limit_seconds, lambda free: _judge_disk(free, min_free_disk_mb)),
        _judge_sync(read_sync(), require_clock_sync),
    )
    failed = [item for item in items if item.required and item.verdict is Verdict.FAIL]
    return HealthcheckRecord(
        ts=now,
        items=items,
        verdict=Verdict.FAIL if failed else Verdict.PASS,
        why="; ".join(f"{item.name}: {item.detail}" for item in failed),
        took_s=(clock.monotonic_ns() - began) / NS_PER_S,
    )


def format_health_lines(record: HealthcheckRecord) -> tuple[str, ...]:
    """Return the printed lines: one per item, then PASS, or FAIL with the reasons."""
    items = (f"[health] {item.name}: {item.detail}" for item in record.items)
    return (*items, f"[health] {record.verdict}" + (f": {record.why}" if record.why else ""))


class TimedProbe(Generic[Result]):
    """Probe that may hang, run in a separate daemon thread."""

    def __init__(self, probe: Callable[[], Result]) -> None:
        self.done = threading.Event()
        self._probe = probe
        self._results: list[Result] = []
        self._raised = ""

    def start(self) -> None:
        """Start the probe."""
        threading.Thread(target=self._run, name="healthcheck", daemon=True).start()

    def _run(self) -> None:
        try:
            self._results.append(self._probe())
        except Exception as error:  # noqa: BLE001, RUF100  # any error fails the item; its text may contain secrets
            self._raised = type(error).__name__
        self.done.set()

    def judge(self, name: str, limit_s: float, judge: Callable[[Result], HealthcheckItem]) -> HealthcheckItem:
        """Return the judged result, or a failed item for a probe that raised or has not answered yet."""
        if not self.done.is_set():
            return HealthcheckItem(name, Verdict.FAIL, f"no answer within {limit_s:g} s")
        if self._raised:
            return HealthcheckItem(name, Verdict.FAIL, f"raised {self._raised}")
        return judge(self._results[0])


def _build_item(name: str, passed: bool, detail: str, required: bool = True) -> HealthcheckItem:
    line = detail if detail.isprintable() else ascii(detail)
    return HealthcheckItem(name, Verdict.PASS if passed else Verdict.FAIL, line, required)


def _judge_time(now: int) -> HealthcheckItem:
    first, last = _SANE_NS
    sane = first <= now < last
    return _build_item("time", sane, iso_utc(now) + ("" if sane else f", expected {iso_utc(first)} to {iso_utc(last)}"))


def _judge_database(report: DatabaseReport, allow_missing: bool) -> HealthcheckItem:
    if not report.exists:
        return _build_item("db", allow_missing, "new" if allow_missing else "expected a database, there is none yet")
    if not report.readable:
        return _build_item("db", False, f"expected to be readable, was: {report.detail}")
    if report.schema is None:
        return _build_item("db", False, report.detail or "expected the schema, got none")
    return _build_item("db", True, f"readable, schema {report.schema}")


def _judge_ticks(report: DatabaseReport) -> HealthcheckItem:
    ticks = report.ticks if report.exists else 0
    return _build_item("ticks", ticks is not None, "unknown" if ticks is None else str(ticks))


def _judge_port(is_open: bool, port: int) -> HealthcheckItem:
    return _build_item("port", is_open, f"{port} open" if is_open else f"{port} closed (not required)", required=False)


def _judge_disk(free: int | None, min_free_mb: int) -> HealthcheckItem:
    if free is None:
        return _build_item("disk", False, "unknown")
    enough = free >= min_free_mb * MIB
    return _build_item(
        "disk", enough, f"{free // MIB} MB free" + ("" if enough else f", expected at least {min_free_mb} MB")
    )


def _judge_sync(sync: ClockSync, required: bool) -> HealthcheckItem:
    optional = "" if required else " (not required)"
    if sync.is_synchronised is None:
        verdict = Verdict.FAIL if required else Verdict.UNAVAILABLE
        return HealthcheckItem("clock", verdict, f"UNAVAILABLE: {sync.detail}{optional}", required)
    if not sync.is_synchronised:
        return _build_item("clock", False, f"expected to be synchronised, got not{optional}", required)
    return _build_item("clock", True, f"synchronised, off by about {sync.estimated_error_ms:.3f} ms", required)


def _is_port_open(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), PORT_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False
