"""The healthcheck (SPEC 10, G1, I7): is this host fit for a session, said within a time limit.

in: a callable that looks at the database, the data directory, the dashboard's port · out: a
`HealthcheckRecord`, and the lines that are printed of it. Items run side by side, each in a daemon
thread: one that hangs (a locked database, a dead network disk) is named, and holds up nothing.
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
PORT_SECONDS = 0.5
MIB = 1024 * 1024
_SANE_NS = (1_735_689_600 * NS_PER_S, 4_102_444_800 * NS_PER_S)
"""2025-01-01 to 2100-01-01: a clock outside has lost its battery or its mind."""

ProbeDatabase = Callable[[], DatabaseReport]
"""Looks at the database read-only. It may take long; what went wrong is its report's detail, redacted."""
Found = TypeVar("Found")


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
    """Look at everything and judge; returns within ``time_limit_seconds``.

    ``allow_missing_database``: a database that does not exist yet passes (preflight; the command alone fails
    on it).
    """
    began = clock.monotonic_ns()
    deadline = began + int(time_limit_seconds * NS_PER_S)
    database = _Look(probe_database)
    port = _Look(lambda: _port_is_open(dashboard_port))
    disk = _Look(lambda: disk_free_bytes(data_dir))
    for look in (database, port, disk):
        look.done.wait(max(0, deadline - clock.monotonic_ns()) / NS_PER_S)
    now = clock.wall_ns()
    items = (
        _judge_time(now),
        database.judged("db", time_limit_seconds, lambda report: _judge_database(report, allow_missing_database)),
        port.judged("port", time_limit_seconds, lambda is_open: _judge_port(is_open, dashboard_port)),
        database.judged("ticks", time_limit_seconds, _judge_ticks),
        disk.judged("disk", time_limit_seconds, lambda free: _judge_disk(free, min_free_disk_mb)),
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


def health_lines(record: HealthcheckRecord) -> tuple[str, ...]:
    """Return the lines that the healthcheck prints: one an item, then PASS, or FAIL and why."""
    items = (f"[health] {item.name}: {item.detail}" for item in record.items)
    return (*items, f"[health] {record.verdict}" + (f": {record.why}" if record.why else ""))


class _Look(Generic[Found]):
    """One look at something that may hang."""

    def __init__(self, look: Callable[[], Found]) -> None:
        self.done = threading.Event()
        self._found: list[Found] = []
        self._raised = ""
        threading.Thread(target=self._run, args=(look,), name="healthcheck", daemon=True).start()

    def _run(self, look: Callable[[], Found]) -> None:
        try:
            self._found.append(look())
        except Exception as error:  # noqa: BLE001, RUF100  # whatever it was, the item failed; its text may hold secrets
            self._raised = type(error).__name__
        self.done.set()

    def judged(self, name: str, limit: float, judge: Callable[[Found], HealthcheckItem]) -> HealthcheckItem:
        if not self.done.is_set():
            return HealthcheckItem(name, Verdict.FAIL, f"no answer within {limit:g} s")
        if self._raised:
            return HealthcheckItem(name, Verdict.FAIL, f"raised {self._raised}")
        return judge(self._found[0])


def _item(name: str, passed: bool, detail: str, required: bool = True) -> HealthcheckItem:
    line = detail if detail.isprintable() else ascii(detail)
    return HealthcheckItem(name, Verdict.PASS if passed else Verdict.FAIL, line, required)


def _judge_time(now: int) -> HealthcheckItem:
    first, last = _SANE_NS
    sane = first <= now < last
    return _item("time", sane, iso_utc(now) + ("" if sane else f", expected {iso_utc(first)} to {iso_utc(last)}"))


def _judge_database(report: DatabaseReport, allow_missing_database: bool) -> HealthcheckItem:
    if not report.exists:
        return _item(
            "db", allow_missing_database, "new" if allow_missing_database else "expected a database, there is none yet"
        )
    if not report.readable:
        return _item("db", False, f"expected to be readable, was: {report.detail}")
    if report.schema is None:
        return _item("db", False, report.detail or "expected the schema, got none")
    return _item("db", True, f"readable, schema {report.schema}")


def _judge_ticks(report: DatabaseReport) -> HealthcheckItem:
    ticks = report.ticks if report.exists else 0
    return _item("ticks", ticks is not None, "unknown" if ticks is None else str(ticks))


def _judge_port(is_open: bool, port: int) -> HealthcheckItem:
    return _item("port", is_open, f"{port} open" if is_open else f"{port} closed (not required)", required=False)


def _judge_disk(free: int | None, min_free_mb: int) -> HealthcheckItem:
    if free is None:
        return _item("disk", False, "unknown")
    enough = free >= min_free_mb * MIB
    return _item("disk", enough, f"{free // MIB} MB free" + ("" if enough else f", expected at least {min_free_mb} MB"))


def _judge_sync(sync: ClockSync, required: bool) -> HealthcheckItem:
    optional = "" if required else " (not required)"
    if sync.is_synchronised is None:
        verdict = Verdict.FAIL if required else Verdict.UNAVAILABLE
        return HealthcheckItem("clock", verdict, f"UNAVAILABLE: {sync.detail}{optional}", required)
    if not sync.is_synchronised:
        return _item("clock", False, f"expected to be synchronised, got not{optional}", required)
    return _item("clock", True, f"synchronised, off by about {sync.estimated_error_ms:.3f} ms", required)


def _port_is_open(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), PORT_SECONDS):
            return True
    except OSError:
        return False
