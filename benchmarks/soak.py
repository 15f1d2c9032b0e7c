"""A long shadow run at a steady rate, observed from outside to find anything that grows but should stay flat.

    python benchmarks/soak.py [--seconds 3600] [--rate 1000] --json soak.json --plot soak.png

Starts a real ``hybrid-platform shadow-run`` (isolation `process`, synthetic feed) and samples it with psutil: memory,
threads and open files of the session's process and of its sandboxed child, the sizes of the database and its WAL, and,
through a separate reader, the age of the newest committed tick. A series is flat if the median of the last quarter of
the time is at most a stated bound above the median of the second quarter (the first quarter fills buffers of bounded
size). Exits with 0 if everything is flat and the session succeeded, else with 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from hybrid_platform.log.events import LogEvent, find_event, parse_line

MIB = 2**20
CHANNELS = {"tick": 4096, "signal": 4096, "persist": 16_384}
"""Larger than the defaults, which hold a quarter of a second at this rate: a stall of the machine is not a leak."""
PATIENCE_S = 240.0
"""Time allowed for the start, and for the end with ledger, audit and report; a long session gets half of its own
length in addition."""

Sample = dict[str, float | None]


class Bound(NamedTuple):
    """Allowed growth from the second to the last quarter, and the maximum that no sample may exceed."""

    growth: float
    unit: str
    most: float | None = None


def bounds(rss_mib: float, wal_mib: float, lag_ms: float) -> dict[str, Bound]:
    """Return the bounds of the series that are judged; all other series are only shown."""
    return {
        "session_rss_mib": Bound(rss_mib, "MiB"),
        "child_rss_mib": Bound(rss_mib, "MiB"),
        "session_fds": Bound(0, "files"),
        "child_fds": Bound(0, "files"),
        "session_threads": Bound(0, "threads"),
        "child_threads": Bound(0, "threads"),
        # A checkpoint every 4,096 pages of 8 KiB, plus room for the commits that begin before it ends.
        "wal_mib": Bound(wal_mib, "MiB", 64),
        "committed_lag_ms": Bound(lag_ms, "ms"),
    }


def judge(samples: Sequence[Sample], limits: dict[str, Bound]) -> dict[str, dict[str, Any]]:
    """Return a verdict for every series: FLAT, GROWS, or UNREADABLE if the kernel denied access to it.

    ``slope_per_hour`` is the Theil-Sen slope of the second half: half of all pairs of samples have a smaller slope.
    """
    verdicts: dict[str, dict[str, Any]] = {}
    for name, bound in limits.items():
        points = [(sample["t_s"], value) for sample in samples if (value := sample[name]) is not None]
        if len(points) < max(8, len(samples) // 2):
            verdicts[name] = {"verdict": "UNREADABLE", "samples": len(points)}
            continue
        t, values = np.array(points, dtype=float).T
        span = float(t[-1] - t[0])
        second = float(np.median(values[(t >= t[0] + span / 4) & (t < t[0] + span / 2)]))
        last = float(np.median(values[t >= t[0] + span * 3 / 4]))
        is_flat = last - second <= bound.growth and (bound.most is None or values.max() <= bound.most)
        verdicts[name] = {
            "verdict": "FLAT" if is_flat else "GROWS",
            "unit": bound.unit,
            "second_quarter": round(second, 3),
            "last_quarter": round(last, 3),
            "growth": round(last - second, 3),
            "bound": bound.growth,
            "most": round(float(values.max()), 3),
            "most_bound": bound.most,
            "slope_per_hour": round(_slope(t, values) * 3600, 3),
        }
    return verdicts


def describe_fault(name: str, judged: dict[str, Any]) -> str | None:
    """Describe the fault of a series, or return None; without root, open files may be unreadable."""
    if judged["verdict"] == "GROWS":
        return (
            f"{name}: expected at most {judged['bound']:g} {judged['unit']} more in the last quarter, and never more "
            f"than {judged['most_bound']}, got {judged['growth']:g} more, at most {judged['most']:g}"
        )
    if judged["verdict"] == "UNREADABLE" and not name.endswith("_fds"):
        return f"{name}: expected a sample at least every other time, got {judged['samples']}"
    return None


def _slope(t: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    half = t >= t[0] + (t[-1] - t[0]) / 2
    x, y = t[half][:2_000], values[half][:2_000]
    i, j = np.triu_indices(len(x), 1)
    return float(np.median((y[j] - y[i]) / (x[j] - x[i]))) if len(i) else 0.0


class Sampler:
    """Sampler of one session, from outside."""

    def __init__(self, pid: int, data_dir: Path, log: Path) -> None:
        self._session = psutil.Process(pid)
        self._data_dir, self._log = data_dir, log
        self._log_read = 0
        self._rest = b""
        self._beat: dict[str, Any] = {}
        self.beats = 0

    def sample(self, t_s: float) -> Sample | None:
        """Return a sample, or None before the sandboxed child starts and after it has ended."""
        self._read_log()
        try:
            children = self._session.children()
            if not children or not self._beat:
                return None
            seen: Sample = {"t_s": round(t_s, 3)}
            for name, process in (("session", self._session), ("child", children[0])):
                seen[f"{name}_rss_mib"] = process.memory_info().rss / MIB
                seen[f"{name}_threads"] = process.num_threads()
                seen[f"{name}_cpu_s"] = sum(process.cpu_times()[:2])
                seen[f"{name}_fds"] = _open_files(process)
        except psutil.NoSuchProcess:
            return None
        database = self._data_dir / "bot.db"
        seen["wal_mib"] = _size(database.with_name("bot.db-wal"))
        seen["database_mib"] = _size(database)
        seen["log_mib"] = _size(self._log)
        seen["committed_ticks"], seen["committed_lag_ms"] = _committed(database)
        seen["dropped"] = sum(self._beat[f"bp_drops_{channel}"] for channel in ("tick", "signal", "persist"))
        seen["feed_lag_ms"] = self._beat["lag_ms"]
        seen["load_1m"] = os.getloadavg()[0]
        return seen

    def _read_log(self) -> None:
        with self._log.open("rb") as file:
            file.seek(self._log_read)
            added = file.read()
        self._log_read += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        for line in lines:
            record = parse_line(line)
            if record is not None and find_event(record) is LogEvent.HEARTBEAT:
                self._beat = record
                self.beats += 1


def _open_files(process: psutil.Process) -> float | None:
    """Return the number of open files, or None without root, because both processes hide from others of their user."""
    try:
        return float(process.num_fds())
    except psutil.AccessDenied:
        return None


def _size(path: Path) -> float:
    try:
        return path.stat().st_size / MIB
    except FileNotFoundError:
        return 0.0


def _committed(database: Path) -> tuple[float | None, float | None]:
    """Return the number of ticks that a reader sees, and the age of the newest in milliseconds."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        newest = "SELECT seq, ts_recv FROM tick_rows ORDER BY session_no DESC, seq DESC LIMIT 1"
        for seq, ts_recv in connection.execute(newest):
            return float(seq), (time.time_ns() - ts_recv) / 1e6
    return None, None


def run(command: Sequence[str], folder: Path, sample_seconds: float, patience_s: float) -> dict[str, Any]:
    """Run a session to its end and sample it; return the samples and a summary of its evidence.

    The exit code is None if the session outlasted ``patience_s`` and was killed.
    """
    data_dir, log = folder / "data", folder / "session.log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HYBRID_PLATFORM_")}
    with log.open("wb") as out, (folder / "session.err").open("wb") as err:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err, env=environment)
    samples: list[Sample] = []
    begin = time.monotonic()
    try:
        sampler = Sampler(process.pid, data_dir, log)
        due = begin
        while process.poll() is None and time.monotonic() < begin + patience_s:
            seen = sampler.sample(time.monotonic() - begin)
            if seen is not None:
                samples.append(seen)
            due = max(due + sample_seconds, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
        code = process.poll()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    found = sorted((data_dir / "evidence").glob("*/session.json"))
    evidence = json.loads(found[-1].read_text()) if found else {}
    heartbeats = evidence.get("heartbeats", {})
    return {
        "samples": samples,
        "session": {
            "exit_code": code,
            "verdict": evidence.get("verdict"),
            "reasons": evidence.get("reasons"),
            "ledger_balances": evidence.get("ledger", {}).get("balances"),
            "heartbeats": heartbeats,
            "ticks": evidence.get("counters", {}).get("tick_count"),
            "signals": evidence.get("counters", {}).get("signal_count"),
            "orders": evidence.get("counters", {}).get("shadow_orders"),
            "dropped": {
                channel: evidence.get("counters", {}).get(f"bp_drops_{channel}")
                for channel in ("tick", "signal", "persist")
            },
            "lag_ms": evidence.get("lag_ms"),
            "latency_us": evidence.get("latency_us"),
            "pipeline_s": evidence.get("pipeline_s"),
        },
    }


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw every judged series over time, with the medians that are compared."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = (
        ("Memory (RSS), MiB", ("session_rss_mib", "child_rss_mib")),
        ("Open files", ("session_fds", "child_fds")),
        ("Threads", ("session_threads", "child_threads")),
        ("WAL, MiB", ("wal_mib",)),
        ("Database, MiB", ("database_mib",)),
        ("Age of the newest committed tick, ms", ("committed_lag_ms",)),
    )
    samples = result["samples"]
    minutes = np.array([sample["t_s"] for sample in samples]) / 60
    figure, axes = plt.subplots(3, 2, figsize=(11, 8), sharex=True, layout="constrained")
    for axis, (title, names) in zip(axes.flat, panels, strict=True):
        for name in names:
            values = np.array([np.nan if sample[name] is None else sample[name] for sample in samples])
            (line,) = axis.plot(minutes, values, linewidth=0.9, label=name.split("_")[0] if len(names) > 1 else None)
            found = result["judged"].get(name, {})
            if "second_quarter" in found:
                span = minutes[-1] - minutes[0]
                for key, begin, end in (("second_quarter", 0.25, 0.5), ("last_quarter", 0.75, 1.0)):
                    axis.hlines(
                        found[key],
                        minutes[0] + begin * span,
                        minutes[0] + end * span,
                        color=line.get_color(),
                        linewidth=3,
                        alpha=0.4,
                    )
        axis.set_title(title, fontsize=10, loc="left")
        axis.grid(visible=True, alpha=0.25)
        axis.set_ylim(bottom=0)
        if len(names) > 1:
            axis.legend(fontsize=8, loc="lower right")
    for axis in axes[-1]:
        axis.set_xlabel("minutes")
    what = result["what"]
    session = result["session"]
    figure.suptitle(
        f"Soak: {what['rate']:,} ticks per second for {what['seconds']:,} s: {result['verdict']} "
        f"({session['ticks'] or 0:,} ticks, {session['orders'] or 0:,} orders, exit {session['exit_code']})",
        fontsize=12,
    )
    figure.savefig(path, dpi=100)


def main() -> int:
    """Run the soak, judge it, and draw the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--rate", type=int, default=1000, help="ticks per second")
    parser.add_argument("--sample-seconds", type=float, default=5.0)
    parser.add_argument("--rss-growth-mib", type=float, default=4.0, help="bound for each process")
    parser.add_argument("--wal-growth-mib", type=float, default=4.0)
    parser.add_argument("--lag-growth-ms", type=float, default=250.0, help="bound for the age of committed ticks")
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path, required=True, help="path of the result")
    parser.add_argument("--plot", type=Path, required=True, help="path of the plot")
    parser.add_argument("--folder", type=Path, help="folder to keep; default: a temporary one")
    options = parser.parse_args()
    for path in (options.json, options.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    settings = {
        "feed.synthetic.ticks_per_second": options.rate,
        "isolation": "process",
        "gates.cpu_pressure_limit": 100,  # the soak tests growth; the gate has its own tests
        **{f"channels.{name}": capacity for name, capacity in CHANNELS.items()},
    }
    command = [sys.executable, "-m", "hybrid_platform.cli", "shadow-run", "--mode", "shadow"]
    command += ["--seconds", str(options.seconds)]
    for assignment in (*(f"{key}={value}" for key, value in settings.items()), *options.assignments):
        command += ["--set", assignment]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = run(command, folder, options.sample_seconds, 1.5 * options.seconds + PATIENCE_S)
        if found["session"]["exit_code"] != 0:
            sys.stderr.write((folder / "session.err").read_text()[-2_000:])
    judged = judge(found["samples"], bounds(options.rss_growth_mib, options.wal_growth_mib, options.lag_growth_ms))
    session = found["session"]
    faults = [fault for name, each in judged.items() if (fault := describe_fault(name, each))]
    if session["exit_code"] != 0 or session["verdict"] != "PASS" or not session["ledger_balances"]:
        faults.append(f"session: exit {session['exit_code']}, {session['verdict']}: {session['reasons']}")
    result = {
        "what": {
            "seconds": options.seconds,
            "rate": options.rate,
            "sample_seconds": options.sample_seconds,
            "settings": settings,
        },
        "host": {
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "kernel": platform.release(),
            "cores": os.cpu_count(),
        },
        "verdict": "FLAT" if not faults else "FAIL",
        "faults": faults,
        "judged": judged,
        **found,
    }
    if found["samples"]:
        plot(result, options.plot)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write("\n".join([*(_line(name, each) for name, each in judged.items()), *faults, result["verdict"]]))
    sys.stdout.write("\n")
    return int(bool(faults))


def _line(name: str, found: dict[str, Any]) -> str:
    if "growth" not in found:
        return f"{name:18} {found['verdict']}"
    return (
        f"{name:18} {found['verdict']:5}  second quarter {found['second_quarter']:,.1f}, last "
        f"{found['last_quarter']:,.1f} {found['unit']}, at most {found['most']:,.1f}, bound +{found['bound']:g}"
    )


if __name__ == "__main__":
    sys.exit(main())
