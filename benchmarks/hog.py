"""A session like a live one while other processes use up the CPU: the trace of the throttle ladder and the health.

    python benchmarks/hog.py [--calm 45 --hog 90 --after 60] [--rate 500] --json hog.json --plot hog.png

Starts a real ``hybrid-platform shadow-run`` (isolation `process`, synthetic feed). After ``--calm`` seconds processes
that only compute (``--hogs``, two per core by default) run for ``--hog`` seconds. Then the session has ``--after``
seconds to recover. Meanwhile this program reads the database and the kernel's pressure once a second, and runs the
healthcheck every few seconds. It prints the steps of the ladder and the measurements, and exits with 0 if every tick is
accounted for, no heartbeat was late, and every healthcheck passed.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.host.healthcheck import run_healthcheck
from hybrid_platform.host.pressure import read_pressure
from hybrid_platform.log.events import LogEvent, find_event
from hybrid_platform.storage.location import sqlite_url
from hybrid_platform.storage.probe import probe_database

HEALTH_EVERY_S = 5.0
PATIENCE_S = 120.0
BUSY = """
import time
from hybrid_platform.strategies import Params, Strategy, buy


class Busy(Strategy[Params]):
    def on_tick(self, tick):
        end = time.thread_time_ns() + {work_us} * 1000
        while time.thread_time_ns() < end:
            pass
        return buy(tick, "0.1", "HUNDREDTH") if tick.seq % 100 == 0 else None
"""
"""A strategy that needs so much CPU per tick that it keeps up only while the CPU is free."""
EAT = "import sys, time\nend = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass"


class Hogs:
    """Processes that only compute, and end by themselves."""

    def __init__(self, count: int, seconds: float) -> None:
        command = [sys.executable, "-c", EAT, str(seconds)]
        self._running = [subprocess.Popen(command) for _ in range(count)]

    def end(self) -> None:
        """Kill the processes that still run."""
        for each in self._running:
            each.kill()
            each.wait()


def start(folder: Path, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    """Start the session; its log lines go to a file."""
    seconds = options.calm + options.hog + options.after
    settings = {
        "feed.synthetic.ticks_per_second": options.rate,
        "heartbeat.interval_seconds": 2,
        "gates.cpu_pressure_limit": 100,  # preflight is not under test here
        "overload.pressure_limit": options.pressure_limit,
        "overload.recover_share": options.recover_share,
        "overload.step_up_seconds": options.up,
        "overload.step_down_seconds": options.down,
        "overload.stop_seconds": "null",
    }
    command = [
        sys.executable,
        "-m",
        "hybrid_platform.cli",
        "shadow-run",
        "--mode",
        "shadow",
        "--seconds",
        str(seconds),
    ]
    for assignment in (*(f"{key}={value}" for key, value in settings.items()), *options.assignments):
        command += ["--set", assignment]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HYBRID_PLATFORM_")}
    if options.work_us:
        (folder / "busy.py").write_text(BUSY.format(work_us=options.work_us))
        command += ["--set", "strategy.name=busy:Busy"]
        environment["PYTHONPATH"] = str(folder)
    with (folder / "session.log").open("wb") as log, (folder / "session.err").open("wb") as err:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=err, env=environment)


def read_lines(folder: Path, event: LogEvent) -> list[dict[str, Any]]:
    """Return the complete log lines of the session that record an event."""
    text = (folder / "session.log").read_text()
    found = (json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines() if line.startswith("{"))
    return [line for line in found if find_event(line) is event]


def take_sample(folder: Path, at: float, *, health: bool) -> dict[str, float]:
    """Take one sample from outside the session."""
    database = folder / "data" / "bot.db"
    seen = {"at_s": round(at, 3), "pressure": read_pressure(SystemClock()).percent}
    began = time.monotonic()
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        seen["ticks"] = connection.execute("SELECT count(*) FROM ticks").fetchone()[0]
        seen["read_ms"] = round((time.monotonic() - began) * 1000, 2)
    if health:
        found = run_healthcheck(lambda: probe_database(sqlite_url(database)), folder / "data", SystemClock())
        seen["health_s"], seen["healthy"] = round(found.took_s, 3), float(found.verdict.value == "PASS")
    return seen


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run the session together with its hogs; return the samples and the evidence."""
    session = start(folder, options)
    hogs: Hogs | None = None
    samples: list[dict[str, float]] = []
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not read_lines(folder, LogEvent.CHANNELS_CREATED):
            if session.poll() is not None or time.monotonic() > deadline:
                raise SystemExit((folder / "session.err").read_text() or "the session did not start")
            time.sleep(0.2)
        began = time.monotonic()
        next_sample = next_health = began
        while session.poll() is None and time.monotonic() < began + options.calm + options.hog + options.after + 60:
            now = time.monotonic()
            if hogs is None and now - began >= options.calm:
                hogs = Hogs(options.hogs, options.hog)
            if now >= next_sample:
                samples.append(take_sample(folder, now - began, health=now >= next_health))
                next_sample = now + 1
                next_health = now + HEALTH_EVERY_S if now >= next_health else next_health
            time.sleep(0.1)
        code = session.wait(PATIENCE_S)
    finally:
        if hogs is not None:
            hogs.end()
        if session.poll() is None:
            session.kill()
            session.wait()
    (found,) = (folder / "data" / "evidence").glob("*/session.json")
    evidence = json.loads(found.read_text())
    return {
        "options": {name: value for name, value in vars(options).items() if not isinstance(value, Path)},
        "exit_code": code,
        "samples": samples,
        "beats": [
            [beat["elapsed_s"], beat["tick_count"], beat["late_ms"]] for beat in read_lines(folder, LogEvent.HEARTBEAT)
        ],
        "stepped": len(read_lines(folder, LogEvent.LADDER_STEPPED)),
        "overload": evidence["overload"],
        "heartbeats": evidence["heartbeats"],
        "ledger": evidence["ledger"],
        "counters": evidence["counters"],
        "latency_us": evidence["latency_us"],
        "lag_ms": evidence["lag_ms"],
    }


def find_faults(result: dict[str, Any]) -> list[str]:
    """Return the faults of a run, as messages."""
    beats, health = result["heartbeats"], [each for each in result["samples"] if "healthy" in each]
    checks = (
        (result["exit_code"] == 0, f"exit code: expected 0, got {result['exit_code']}"),
        (result["ledger"]["balances"], f"ledger: {result['ledger']['faults']}"),
        (not beats["late"] and not beats["missing"], f"heartbeats: {beats['late']} late, {beats['missing']} missing"),
        (all(each["healthy"] for each in health), "healthcheck: failed while the session ran"),
    )
    return [fault for holds, fault in checks if not holds]


def render_summary(result: dict[str, Any]) -> str:
    """Return the trace of the ladder and the measurements, each as a Markdown table."""
    overload, samples, options = result["overload"], result["samples"], result["options"]
    reads = sorted(each["read_ms"] for each in samples if "read_ms" in each)
    health = [each["health_s"] for each in samples if "health_s" in each]
    beats, counters = result["heartbeats"], result["counters"]
    out = sum(overload["sampled_out"].values())
    spent = ", ".join(f"1 in {level}: {seconds:.0f} s" for level, seconds in _sort_by_level(overload["seconds_at"]))
    rows = [
        ("hogs", f"{options['hogs']} on {os.cpu_count()} cores, from {options['calm']} s for {options['hog']} s"),
        ("CPU pressure (some avg10)", f"mean {overload['mean_pressure']:g} %, maximum {overload['most_pressure']:g} %"),
        ("ticks", f"{counters['tick_count'] + out:,} received = {counters['tick_count']:,} used + {out:,} sampled out"),
        ("dropped by channels", f"{sum(counters[f'bp_drops_{name}'] for name in ('tick', 'signal', 'persist')):,}"),
        ("time at each level", spent),
        ("heartbeats", f"{beats['beaten']}, {beats['late']} late, the latest by {beats['longest_late_ms']} ms"),
        ("healthcheck", f"{len(health)} times, at most {max(health, default=0):.2f} s of 10 s"),
        (
            "a reader's count of all ticks",
            f"{len(reads)} times, median {_median(reads):.1f} ms, maximum {reads[-1]:.1f} ms",
        ),
        ("receive → order", ", ".join(f"{name} {value / 1000:.1f} ms" for name, value in result["latency_us"].items())),
    ]
    steps = [
        f"| {step['elapsed_s']:.0f} s | {step['before']} → {step['after']} | {step['held_s']:.1f} s | {step['why']} |"
        for step in overload["steps"]
    ]
    measured = [f"| {name} | {value} |" for name, value in rows]
    trace = ["| at | one tick in | condition held for | reason |", "| --- | --- | --- | --- |", *steps, ""]
    return "\n".join([*trace, "| measured | |", "| --- | --- |", *measured, ""])


def _sort_by_level(values: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(values.items(), key=lambda item: int(item[0]))


def _median(values: list[float]) -> float:
    return values[len(values) // 2] if values else 0.0


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw pressure, the ladder and the rate of used ticks over time."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    samples, options, overload = result["samples"], result["options"], result["overload"]
    figure, (pressure, ladder, rate) = plt.subplots(3, 1, figsize=(9, 6.5), sharex=True, layout="constrained")
    pressure.plot([each["at_s"] for each in samples], [each["pressure"] for each in samples], color="#2f7ed8")
    limit = overload["pressure_limit"]
    if limit is not None:
        pressure.axhline(limit, color="#d9534f", linewidth=1)
        pressure.axhline(limit * options["recover_share"], color="#159a5b", linewidth=1)
    pressure.set(title="CPU pressure, some avg10 in percent; red: limit, green: recovers below", ylim=(0, 102))
    steps = overload["steps"]
    at = [0.0, *(step["elapsed_s"] for step in steps), samples[-1]["at_s"]]
    every = [1, *(step["after"] for step in steps)]
    ladder.step(at, [*every, every[-1]], where="post", color="#2f7ed8")
    ladder.set(title="Throttle ladder: one tick in …", yticks=[1, 2, 5, 10])
    beats = result["beats"]
    pairs = list(pairwise(beats))
    rate.plot([b[0] for _, b in pairs], [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs], color="#2f7ed8")
    rate.set(title="Used ticks per second", xlabel="seconds", ylim=(0, None))
    for axis in (pressure, ladder, rate):
        axis.axvspan(options["calm"], options["calm"] + options["hog"], color="#9aa0a6", alpha=0.2)
        axis.grid(visible=True, alpha=0.25)
        axis.title.set(fontsize=10, horizontalalignment="left", position=(0, 1))
    figure.suptitle(f"{options['hogs']} hogs on {os.cpu_count()} cores (grey), {options['rate']:g} ticks per second")
    figure.savefig(path, dpi=100)


def main() -> int:
    """Run the session, judge it, and print and draw the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calm", type=float, default=45.0)
    parser.add_argument("--hog", type=float, default=90.0)
    parser.add_argument("--after", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=500.0, help="ticks per second")
    parser.add_argument("--hogs", type=int, default=2 * (os.cpu_count() or 1))
    parser.add_argument("--work-us", type=int, default=0, help="CPU time that the strategy takes per tick; 0: periodic")
    parser.add_argument("--pressure-limit", type=float, default=60.0)
    parser.add_argument("--recover-share", type=float, default=0.5)
    parser.add_argument("--up", type=float, default=10.0, help="overload.step_up_seconds")
    parser.add_argument("--down", type=float, default=10.0, help="overload.step_down_seconds")
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path, required=True, help="path of the result")
    parser.add_argument("--plot", type=Path, required=True, help="path of the plot")
    options = parser.parse_args()
    for path in (options.json, options.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), options)
    faults = result["faults"] = find_faults(result)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    plot(result, options.plot)
    sys.stdout.write(render_summary(result) + "\n" + "\n".join(faults or ["PASS"]) + "\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
