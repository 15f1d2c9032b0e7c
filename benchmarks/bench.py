"""All measures of docs/performance.md: ``make bench``, or ``make bench ONLY=dense,cli FILE=trades.csv.gz``.

Repeats are interleaved: each one runs all measures once, and ratios are computed within a repeat. The result is the
median, together with the other load of the machine. It is printed as a table, and written to a folder as JSON and
Markdown. Without a file of recorded trades (columns ``symbol,ts_ms,price,size,…``), rows of the same shape are
generated.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from bench_feed import generate
from bench_measures import MEASURES, ONLY_WHEN_ASKED, Figures, Subject

GOALS: dict[tuple[str, str], tuple[str, float]] = {
    ("sparse", "thread ÷ ceiling"): ("≥", 0.50),
    ("sparse", "process ÷ ceiling"): ("≥", 0.60),
    ("columnar", "thread ÷ ceiling"): ("≥", 0.80),
    ("columnar", "process ÷ ceiling"): ("≥", 0.80),
    ("sparse", "best ÷ peer"): ("≥", 3),
    ("columnar", "best ÷ peer"): ("≥", 3),
    ("dense", "thread ÷ ceiling"): ("≥", 0.30),
    ("dense", "process ÷ ceiling"): ("≥", 0.45),
    ("dense-ticks", "thread ÷ ceiling"): ("≥", 0.30),
    ("dense-ticks", "process ÷ ceiling"): ("≥", 0.45),
    ("paper", "best ÷ peer"): ("≥", 5),
    **{
        (f"latency-{rate}", f"{isolation} {name}"): ("≤", most)
        for rate in ("1k", "10k", "1k-dense", "10k-dense")
        for isolation in ("thread", "process")
        for name, most in {
            "p50 µs": 100,
            "p99 µs": 1000,
            "drops tick": 0,
            "drops signal": 0,
            "sampled out": 0,
            "exit code": 0,
            **({"drops persist": 0} if rate.startswith("1k") else {"evicted %": 0.1}),
        }.items()
    },
    **{
        ("burning", f"{isolation} {name}"): limit
        for isolation in ("thread", "process")
        for name, limit in {
            "balanced": ("≥", 1),
            "heartbeats late or missing": ("≤", 0),
            "drain s": ("≤", 2),
        }.items()
    },
    **{
        ("memory", f"{name} MB beyond it, {process}"): ("≤", 150)
        for name in ("sparse", "dense")
        for process in ("parent", "sandboxed")
    },
    ("start", "thread ÷ empty job"): ("≤", 1.5),
    ("start", "process ÷ empty job"): ("≤", 1.5),
    ("cli", "--help s"): ("≤", 0.4),
    ("cli", "healthcheck s"): ("≤", 0.4),
    ("growth", "50 M ÷ 1 M"): ("≥", 0.9),
    ("growth", "50 M: healthcheck s"): ("≤", 1),
}


def measure_other_load() -> dict[str, Any]:
    """Return the load that other processes put on the machine."""
    mine = {os.getpid(), *(each.pid for each in psutil.Process().children(recursive=True))}
    seen = [each for each in psutil.process_iter(["name"]) if each.pid not in mine]
    for each in seen:
        try:
            each.cpu_percent()
        except psutil.Error:
            continue
    time.sleep(0.5)
    busy = []
    for each in seen:
        try:
            busy.append((each.cpu_percent(), each.info["name"]))
        except psutil.Error:
            continue
    top = [f"{name} {percent:.0f} %" for percent, name in sorted(busy, reverse=True)[:3] if percent >= 5]
    return {"load_average": [round(load, 2) for load in os.getloadavg()], "busiest": top}


def judge(measure: str, name: str, value: float) -> tuple[str, str]:
    """Return the goal of a figure, and whether the value meets it, in words."""
    if (measure, name) not in GOALS:
        return "", ""
    sign, limit = GOALS[measure, name]
    return f"{sign} {limit:g}", "yes" if (value >= limit if sign == "≥" else value <= limit) else "no"


def render_table(medians: dict[str, Figures]) -> str:
    """Return the medians as Markdown."""
    lines = ["| measure | figure | median | goal | met |", "| --- | --- | --- | --- | --- |"]
    for measure, figures in medians.items():
        for name, value in figures.items():
            lines.append(f"| {measure} | {name} | {value:,g} | {' | '.join(judge(measure, name, value))} |")
    return "\n".join(lines) + "\n"


def build_subject(options: argparse.Namespace, folder: Path) -> Subject:
    """Return the subject of the measures; generate its rows if there is no file."""
    file = Path(options.file) if options.file else generate(folder, options.rows)["csv.gz"]
    peer = None if options.peer_script is None else (options.peer_python, options.peer_script)
    return Subject(file.absolute(), options.rows, peer, options.seconds)


def main() -> None:
    """Run the measures in turn, print the table, and write JSON and Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"Comma-separated names of measures: {', '.join(MEASURES)}.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--file", help="Recorded trades; default: generated rows.")
    parser.add_argument("--rows", type=int, default=1_141_823, help="Number of rows to generate.")
    parser.add_argument("--seconds", type=float, default=20.0, help="Length of each live session.")
    parser.add_argument(
        "--peer-script", help="Program that replays FILE and prints ticks_per_s; see docs/performance.md."
    )
    parser.add_argument("--peer-python", default=sys.executable, help="Python interpreter for the peer.")
    parser.add_argument("--out", type=Path, default=Path("data/bench"))
    options = parser.parse_args()
    names = options.only.split(",") if options.only else [name for name in MEASURES if name not in ONLY_WHEN_ASKED]
    if unknown := set(names) - set(MEASURES):
        parser.error(f"--only: expected some of {', '.join(MEASURES)}, got {', '.join(sorted(unknown))}")
    repeats: dict[str, list[Figures]] = {name: [] for name in names}
    # An installation has compiled byte code, so no measured start may compile edited modules again.
    compileall.compile_dir(Path(__file__).parent.parent / "hybrid_platform", quiet=1)
    around = [measure_other_load()]
    with tempfile.TemporaryDirectory() as made:
        subject = build_subject(options, Path(made))
        for repeat in range(options.repeats):
            for name in names:
                started = time.monotonic()
                repeats[name].append(MEASURES[name](subject))
                print(f"{repeat + 1}/{options.repeats} {name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
            around.append(measure_other_load())
    medians = {
        name: {figure: statistics.median(each[figure] for each in found) for figure in found[0]}
        for name, found in repeats.items()
    }
    host = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "cores": os.cpu_count(),
        "file": options.file or f"{options.rows} generated rows",
        "around": around,
    }
    shown = render_table(medians)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bench.json").write_text(
        json.dumps({"host": host, "medians": medians, "repeats": repeats}, indent=2, ensure_ascii=False) + "\n"
    )
    (options.out / "bench.md").write_text(shown)
    print(shown)
    print(json.dumps(host), file=sys.stderr)


if __name__ == "__main__":
    main()
