"""The flight recorder (SPEC 10): what the host was like, block by block, for whoever asks afterwards.

in: a pressure reading and a healthcheck · out: one block appended to ``logs/health_snapshots.log``,
whole, 0600, rotated by size. A session takes one before, one after, and one at each interval.
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
KEEP = 3


class Appender(Protocol):
    """Somewhere below which files are kept; a data directory is one."""

    def append(self, name: str, block: bytes, *, rotate_bytes: int | None = None, keep: int = 3) -> None:
        """Append a block whole or not at all."""


def take_snapshot(
    files: Appender, clock: Clock, pressure: CpuPressure, health: HealthcheckRecord, proc: Path = PROC
) -> str:
    """Append one block, and return it. Raises what ``files`` raises: StorageError where the disk is full."""
    block = snapshot_block(clock.wall_ns(), read_uptime(proc), read_load(), pressure, health.verdict)
    files.append(SNAPSHOT_LOG, block.encode(), rotate_bytes=ROTATE_BYTES, keep=KEEP)
    return block


def snapshot_block(
    ts: int, uptime_s: float | None, load: LoadAverage | None, pressure: CpuPressure, verdict: Verdict
) -> str:
    """Return a block as scripts read it; ``ts`` in wall-clock nanoseconds."""
    uptime = "UNAVAILABLE" if uptime_s is None else f"{uptime_s:.2f} s"
    loads = (
        "UNAVAILABLE" if load is None else f"{load.one_minute:.2f} {load.five_minutes:.2f} {load.fifteen_minutes:.2f}"
    )
    return (
        f"=== [{iso_utc(ts)}] Flight Recorder Snapshot ===\n"
        f"UPTIME: {uptime}\n"
        f"LOAD: {loads}\n"
        f"CPU_PRESSURE:{_pressure(pressure)}\n"
        f"HEALTHCHECK: {verdict}\n\n"
    )


def _pressure(pressure: CpuPressure) -> str:
    if pressure.cpu is None:
        return f" UNAVAILABLE (load {pressure.load_percent:g} % of the cores)"
    lines = {"some": pressure.cpu.some, "full": pressure.cpu.full}
    return "".join(f"\n{kind} {_averages(line)}" for kind, line in lines.items() if line is not None)


def _averages(line: PressureAverages) -> str:
    return f"avg10={line.avg10:.2f} avg60={line.avg60:.2f} avg300={line.avg300:.2f} total={line.total}"
