"""CPU, memory and I/O pressure (PSI), and the gate that waits for it to fall (G2).

in: ``/proc/pressure/{cpu,memory,io}`` and the load average · out: `CpuPressure` readings and one `PressureGate`.
Without PSI the source is UNAVAILABLE, and the load average ÷ cores × 100 is compared with the limit instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from hybrid_platform.domain.clocks import NS_PER_S, Clock, Stopper
from hybrid_platform.domain.records import (
    CpuPressure,
    LoadAverage,
    PressureAverages,
    PressureGate,
    PressureSource,
    ResourcePressure,
    Verdict,
)

PSI_ROOT = Path("/proc/pressure")
OFF_LIMIT = 100.0
"""A limit of at least this value disables the gate."""
POLL_SECONDS = 1.0
"""The kernel updates avg10 every two seconds."""
REPORT_SECONDS = 5.0
_LINE = re.compile(
    r"^(some|full) avg10=(\d+\.\d+) avg60=(\d+\.\d+) avg300=(\d+\.\d+) total=(\d+)$", re.ASCII | re.MULTILINE
)

OnWait = Callable[[CpuPressure, float], None]
"""Receives the latest reading and the remaining seconds, about every 5 s while the gate waits."""


def read_load() -> LoadAverage | None:
    """Return the host's load averages, or None if it does not provide them."""
    try:
        return LoadAverage(*os.getloadavg())
    except OSError:
        return None


def read_pressure(
    clock: Clock,
    psi_root: Path = PSI_ROOT,
    load: Callable[[], LoadAverage | None] = read_load,
    cores: int | None = None,
) -> CpuPressure:
    """Return the host's current pressure; never raise. A missing or unreadable value is None.

    A host with neither PSI nor load average counts as fully loaded, so that an unknown state does not pass the gate.
    """
    averages = load()
    cpu = _read_resource(psi_root / "cpu")
    return CpuPressure(
        ts=clock.wall_ns(),
        source=PressureSource.UNAVAILABLE if cpu is None else PressureSource.PSI,
        load_percent=OFF_LIMIT
        if averages is None
        else round(averages.one_minute / (cores or os.cpu_count() or 1) * 100, 2),
        cpu=cpu,
        memory=_read_resource(psi_root / "memory"),
        io=_read_resource(psi_root / "io"),
    )


def wait_for_pressure(
    limit: float,
    wait_seconds: float,
    read: Callable[[], CpuPressure],
    clock: Clock,
    stop: Stopper,
    on_wait: OnWait,
) -> PressureGate:
    """Wait up to ``wait_seconds`` for the pressure to fall below ``limit`` percent, and judge it.

    The start of a session is work itself, so the gate waits before it judges. ``stop`` ends the wait; a gate that is
    interrupted above its limit fails. A limit of 0 cannot be met and fails immediately.
    """
    began = clock.monotonic_ns()
    first = last = read()
    if limit >= OFF_LIMIT:
        return PressureGate(limit, first, last, 0.0, Verdict.NOT_RUN, f"switched off by a limit of {limit:g} %")
    waited, reported = 0.0, -REPORT_SECONDS
    while last.percent >= limit > 0 and waited < wait_seconds and not stop.is_set():
        if waited - reported >= REPORT_SECONDS:
            reported = waited
            on_wait(last, wait_seconds - waited)
        stop.wait(min(POLL_SECONDS, wait_seconds - waited))
        waited = (clock.monotonic_ns() - began) / NS_PER_S
        last = read()
    quantity = "some avg10" if last.source is PressureSource.PSI else "load ÷ cores (no PSI on this host)"
    if last.percent >= limit:
        why = f"{quantity}: expected < {limit:g} %, got {last.percent:g} % after {waited:.1f} s"
        return PressureGate(limit, first, last, waited, Verdict.FAIL, why + (", interrupted" if stop.is_set() else ""))
    verdict = Verdict.PASS if last.source is PressureSource.PSI else Verdict.UNAVAILABLE
    return PressureGate(limit, first, last, waited, verdict, f"{quantity}: {last.percent:g} % < {limit:g} %")


def _read_resource(path: Path) -> ResourcePressure | None:
    """Return the averages of a PSI file; None if it is missing, disabled (psi=0) or malformed."""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    lines = {
        kind: PressureAverages(float(avg10), float(avg60), float(avg300), int(total))
        for kind, avg10, avg60, avg300, total in _LINE.findall(text)
    }
    return ResourcePressure(lines["some"], lines.get("full")) if "some" in lines else None
