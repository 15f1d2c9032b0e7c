"""One session, measured from inside: ``python benchmarks/one_session.py '{"feed": …}'`` prints JSON.

Gates, PRAGMA check, ledger and evidence run as in every session. Postflight, which follows `FINAL METRICS`, runs on
request; there is no report. The output has the session's own figures, the CPU seconds of each thread and of the
sandboxed process while the pipeline ran, and the peak memory of each process.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.evidence.records import SessionEvidence
from hybrid_platform.gates.postflight import postflight
from hybrid_platform.run.open import open_run
from hybrid_platform.run.steps import Step, run_steps
from hybrid_platform.session.runner import SessionRunner
from hybrid_platform.settings.loading import load_settings

SAMPLE_SECONDS = 0.1
_TICK = os.sysconf("SC_CLK_TCK")
SHOWN = (
    "ticks_per_second", "rows_per_second", "pipeline_s", "latency_us", "counters", "signals", "channels", "exit_code",
    "exit_reason", "verdict", "reasons", "heartbeats",
)  # fmt: skip


def read_cpu_seconds(stat: Path) -> float | None:
    """Return user plus system seconds of a process or thread, or None if it has ended."""
    try:
        fields = stat.read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICK


def read_peak_memory_mb(pid: int | str) -> float | None:
    """Return the peak memory of a process in MB, or None if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), None)


class Sampler:
    """Sampler of threads and child processes; keeps the last reading of each."""

    def __init__(self) -> None:
        # Only once, because it walks through all processes of the machine.
        self._children = [child.pid for child in psutil.Process().children()]
        self.threads: dict[str, float] = {}
        self.child: dict[int, dict[int, float]] = {}
        self.memory: dict[str, float] = {}
        self._first: dict[Any, float] = {}

    def sample(self) -> None:
        """Take one sample."""
        for thread in threading.enumerate():
            self._keep(self.threads, thread.name, Path(f"/proc/self/task/{thread.native_id}/stat"))
        for pid in self._children:
            tasks = self.child.setdefault(pid, {})
            with suppress(OSError):  # it has ended
                for task in Path(f"/proc/{pid}/task").iterdir():
                    self._keep(tasks, int(task.name), task / "stat")
            self._keep_peak(f"child {len(self.child)}", pid)
        self._keep_peak("parent", "self")

    def _keep(self, into: dict[Any, float], name: Any, stat: Path) -> None:
        used = read_cpu_seconds(stat)
        if used is not None:
            first = self._first.setdefault(stat, 0.0 if into is self.threads and name != "MainThread" else used)
            into[name] = used - first

    def _keep_peak(self, name: str, pid: int | str) -> None:
        held = read_peak_memory_mb(pid)
        if held is not None:
            self.memory[name] = round(max(held, self.memory.get(name, 0.0)), 1)

    def result(self) -> dict[str, Any]:
        """Return the CPU time and memory that were used while the pipeline ran."""
        stages = {name: round(used, 2) for name, used in self.threads.items() if used >= 1 / _TICK}
        sandboxed = [round(used, 2) for tasks in self.child.values() for used in tasks.values() if used]
        return {
            "cpu_s": {"parent": round(sum(stages.values()), 2), "sandboxed": round(sum(sandboxed), 2)},
            "cpu_s_by_thread": {**stages, "sandboxed": sandboxed},
            "peak_memory_mb": self.memory,
        }


def run(settings: dict[str, Any], drain_after: float | None = None, *, judged: bool = False) -> dict[str, Any]:
    """Run one session and return its figures.

    ``drain_after`` is the number of seconds after which the session is asked to stop; ``judged`` also runs postflight
    and measures its seconds.
    """
    clock = SystemClock()
    made = load_settings(settings, environ={})
    with open_run(made, run_id=str(uuid.uuid4()), created_ns=clock.wall_ns(), clock=clock, stream=io.StringIO()) as run:
        found: dict[str, Any] = {}

        def drive(runner: SessionRunner) -> SessionEvidence:
            runner.start()
            sampler = Sampler()
            sampler.sample()
            until = time.monotonic() + (drain_after or math.inf)
            asked = None
            while not runner.wait(SAMPLE_SECONDS if asked is None else None):
                sampler.sample()
                if time.monotonic() >= until:
                    asked = time.monotonic()
                    runner.request_stop("SIGTERM")
            drain = None if asked is None else round(time.monotonic() - asked, 3)
            sampler.sample()
            evidence = runner.finish()
            shown = msgspec.to_builtins(evidence)
            found.update({name: shown[name] for name in SHOWN}, drain_s=drain, **sampler.result())
            return evidence

        result = run_steps(run, drive, last=Step.SESSION)
        if not found:
            raise SystemExit(f"{type(result.decisive).__name__}: {result.decisive.reasons}")
        if judged:
            began = time.monotonic()
            if (after := postflight(run)).exit_code:
                raise SystemExit(f"postflight: {after.reasons}")
            found["postflight_s"] = round(time.monotonic() - began, 3)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", type=json.loads)
    parser.add_argument("--drain-after", type=float, help="Seconds after which the session is asked to stop.")
    parser.add_argument("--judged", action="store_true", help="Run postflight too.")
    asked = parser.parse_args()
    print(json.dumps(run(asked.settings, asked.drain_after, judged=asked.judged)))
