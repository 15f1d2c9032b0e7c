"""The flight recorder: snapshots of the host in a log, for analysis after an incident.

in: a pressure reading and a healthcheck · out: one block appended atomically to ``logs/health_snapshots.log``, mode
0600, rotated by size. A session takes one before, one after, and one at each interval. The format of a block is in
docs/contract.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from hybrid_platform.domain.clocks import Clock, iso_utc
from hybrid_platform.domain.records import (
    CpuPressure,
    HealthcheckRecord,
    LoadAverage,
    PressureAverages,
    Verdict,
)
from hybrid_platform.host.pressure import read_load
from hybrid_platform.host.system import PROC, read_uptime

SNAPSHOT_LOG = "logs/health_snapshots.log"
ROTATE_BYTES = 4 * 1024 * 1024
ROTATED_FILES = 3


class Appender(Protocol):
    """Store of files below a root; a data directory is one."""

    def append(self, name: str, block: bytes, *, rotate_bytes: int | None = None, keep: int = 3) -> None:
        """Append a block completely or not at all."""


def take_snapshot(
    files: Appender, clock: Clock, pressure: CpuPressure, health: HealthcheckRecord, proc: Path = PROC
) -> str:
    """Append one block and return it; raise the errors of ``files``, such as StorageError for a full disk."""
    block = format_snapshot(clock.wall_ns(), read_uptime(proc), read_load(), pressure, health.verdict)
    files.append(SNAPSHOT_LOG, block.encode(), rotate_bytes=ROTATE_BYTES, keep=ROTATED_FILES)
    return block


def format_snapshot(
    ts: int, uptime_s: float | None, load: LoadAverage | None, pressure: CpuPressure, verdict: Verdict
) -> str:
    """Return a block in the format that scripts parse; ``ts`` is in wall-clock nanoseconds."""
    uptime = "UNAVAILABLE" if uptime_s is None else f"{uptime_s:.2f} s"
    loads = (
        "UNAVAILABLE" if load is None else f"{load.one_minute:.2f} {load.five_minutes:.2f} {load.fifteen_minutes:.2f}"
    )
    return (
        f"=== [{iso_utc(ts)}] Flight Recorder Snapshot ===\n"
        f"UPTIME: {uptime}\n"
        f"LOAD: {loads}\n"
        f"CPU_PRESSURE:{_format_pressure(pressure)}\n"
        f"HEALTHCHECK: {verdict}\n\n"
    )


def _format_pressure(pressure: CpuPressure) -> str:
    if pressure.cpu is None:
        return f" UNAVAILABLE (load {pressure.load_percent:g} % of the cores)"
    lines = {"some": pressure.cpu.some, "full": pressure.cpu.full}
    return "".join(f"\n{kind} {_format_averages(line)}" for kind, line in lines.items() if line is not None)


def _format_averages(line: PressureAverages) -> str:
    return f"avg10={line.avg10:.2f} avg60={line.avg60:.2f} avg300={line.avg300:.2f} total={line.total}"
