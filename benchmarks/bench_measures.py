"""Measures of `make bench`: each function runs whole processes and returns the figures of one repeat.

Sessions are those of `one_session.py`, with gates, ledger and evidence switched on; their time runs from `channels
created` to `FINAL METRICS`. Only figures of the same repeat are compared with each other.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil

HERE = Path(__file__).parent
SAMPLE_SECONDS = 0.1
COLUMNS = {"ts": "ts_ms", "price": "price", "size": "size", "symbol": "symbol"}
CAPS = {"max_exposure_usd": 10**6, "max_symbol_exposure_usd": 10**6, "max_open_orders": 10**4}
SPARSE = {"params": {"every": 1_000}}
Figures = dict[str, float]
Settings = dict[str, Any]


class Subject(NamedTuple):
    """Input of the measures."""

    file: Path
    """Recorded trades, or generated rows of the same shape."""
    ticks: int
    peer: tuple[str, str] | None
    """Python interpreter and script of the peer."""
    seconds: float
    """Length of each live session."""


def run_session(folder: Path, settings: Settings, *options: str) -> dict[str, Any]:
    """Run one session in a separate process; return its figures."""
    given = {"data_dir": str(folder), "gates": {"cpu_pressure_limit": 100}, **settings}
    command = [sys.executable, HERE / "one_session.py", json.dumps(given), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"a session failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def build_settings(subject: Subject, name: str, mode: str = "SHADOW", **strategy: Any) -> Settings:
    """Return the settings for a replay of the subject with a strategy."""
    return {
        "mode": mode,
        "seconds": None,
        "strategy": {"name": name, **strategy},
        "risk": CAPS,
        "feed": {"replay": {"path": str(subject.file), "columns": COLUMNS}},
    }


def replay(subject: Subject, *, with_ceiling: bool = True, **asked: Any) -> Figures:
    """Replay with isolation `thread`, then `process`, then measure the ceiling of the same rows."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as made:
        for isolation in ("thread", "process"):
            folder = Path(made) / isolation
            found = run_session(folder, {**build_settings(subject, **asked), "isolation": isolation})
            if found["verdict"] != "PASS":
                raise SystemExit(f"a session did not pass: {found['reasons']}")
            figures[f"{isolation} ticks/s"] = found["ticks_per_second"]
            figures[f"{isolation} rows/s"] = found["rows_per_second"]
            millions = found["counters"]["tick_count"] / 1e6
            for process, used in found["cpu_s"].items():
                if used:
                    figures[f"{isolation} CPU s a million ticks, {process}"] = round(used / millions, 3)
            for process, held in found["peak_memory_mb"].items():
                figures[f"{isolation} memory MB, {process}"] = held
        if with_ceiling:
            most = run_program([sys.executable, str(HERE / "ceiling.py"), str(Path(made) / "thread" / "bot.db")])
            figures["ceiling rows/s"] = most["rows_per_second"]
            for isolation in ("thread", "process"):
                ratio = figures[f"{isolation} rows/s"] / most["rows_per_second"]
                figures[f"{isolation} ÷ ceiling"] = round(ratio, 3)
    return figures


def run_program(command: list[str]) -> dict[str, Any]:
    """Run a program whose last line is a JSON object; return the object."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def sparse(subject: Subject) -> Figures:
    """Measure `periodic` every 1,000 ticks through its tick API."""
    figures = replay(subject, name="bench_strategies:PeriodicTicks", **SPARSE)
    return figures | compare_with_peer(subject, figures, "--no-orders")


def columnar(subject: Subject) -> Figures:
    """Measure `periodic` every 1,000 ticks as shipped, through `on_batch`."""
    figures = replay(subject, name="periodic", **SPARSE)
    return figures | compare_with_peer(subject, figures, "--no-orders")


def dense(subject: Subject) -> Figures:
    """Measure `sma_crossover` as shipped."""
    return replay(subject, name="sma_crossover")


def dense_ticks(subject: Subject) -> Figures:
    """Measure `sma_crossover` through its tick API."""
    return replay(subject, name="bench_strategies:SmaTicks")


def paper(subject: Subject) -> Figures:
    """Measure `sma_crossover` in PAPER."""
    figures = replay(subject, with_ceiling=False, name="sma_crossover", mode="PAPER")
    return figures | compare_with_peer(subject, figures)


def compare_with_peer(subject: Subject, figures: Figures, *options: str) -> Figures:
    """Run the peer on the same file, and compare the rates in ticks per second."""
    if subject.peer is None:
        return {}
    found = run_program([*subject.peer, str(subject.file), *options])
    best = max(figures["thread ticks/s"], figures["process ticks/s"])
    return {
        "peer ticks/s": round(found["ticks_per_s"]),
        "process ÷ peer": round(figures["process ticks/s"] / found["ticks_per_s"], 2),
        "best ÷ peer": round(best / found["ticks_per_s"], 2),
    }


def live(subject: Subject, rate: int, isolation: str, every: int) -> Figures:
    """Measure receive -> order on the channel, with the default channels and an order every ``every`` ticks."""
    with tempfile.TemporaryDirectory() as made:
        found = run_session(
            Path(made),
            {
                "isolation": isolation,
                "seconds": subject.seconds,
                "strategy": {"name": "periodic", "params": {"every": every}},
                "feed": {"synthetic": {"ticks_per_second": rate}},
            },
        )
    counters = found["counters"]
    drops = {name: counters[f"bp_drops_{name}"] for name in ("tick", "signal", "persist")}
    return {
        **{f"{isolation} {name} µs": value for name, value in found["latency_us"].items()},
        **{f"{isolation} drops {name}": count for name, count in drops.items()},
        f"{isolation} evicted %": round(100 * drops["persist"] / max(1, counters["tick_count"]), 4),
        f"{isolation} sampled out": counters["sampled_out"],
        f"{isolation} exit code": found["exit_code"],
    }


def latency(rate: int, every: int) -> Callable[[Subject], Figures]:
    """Return the measure for one rate of ticks and one density of orders."""

    def measure(subject: Subject) -> Figures:
        return live(subject, rate, "thread", every) | live(subject, rate, "process", every)

    return measure


def burning(subject: Subject) -> Figures:
    """Measure a strategy that burns a millisecond per tick on one symbol of four, at 1,000 ticks per second in all."""
    symbols = ["BURN/USD", "SOL/USD", "ETH/USD", "BTC/USD"]
    figures: Figures = {}
    for isolation in ("thread", "process"):
        with tempfile.TemporaryDirectory() as made:
            found = run_session(
                Path(made),
                {
                    "isolation": isolation,
                    "seconds": None,
                    "risk": CAPS,
                    "heartbeat": {"interval_seconds": 1, "late_seconds": 0.5},
                    "strategy": {"name": "bench_strategies:Burning", "params": {"every": 10}},
                    "feed": {"synthetic": {"ticks_per_second": 1_000, "symbols": symbols}},
                },
                f"--drain-after={subject.seconds}",
            )
        figures[f"{isolation} balanced"] = float(found["verdict"] == "PASS")
        figures[f"{isolation} heartbeats late or missing"] = (
            found["heartbeats"]["late"] + found["heartbeats"]["missing"]
        )
        figures[f"{isolation} drain s"] = found["drain_s"]
        for name in ("tick", "persist"):
            figures[f"{isolation} drops {name}"] = found["counters"][f"bp_drops_{name}"]
        figures |= {f"{isolation} {name} µs": value for name, value in found["latency_us"].items()}
    return figures


class Usage(NamedTuple):
    """Resources that a process and its descendants used."""

    wall_s: float
    cpu_s: float
    memory_mb: tuple[float, ...]
    """Peak memory of each process, largest first."""


def run_whole(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> Usage:
    """Run a program to its end and measure it; raise SystemExit if it fails."""
    before, started, most = os.times(), time.perf_counter(), {}
    with (folder / "output.txt").open("wb") as out:
        process = psutil.Popen(command, cwd=folder, stdout=out, stderr=out, env={**os.environ, **(environment or {})})
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):  # it has just ended
                for each in (process, *process.children(recursive=True)):
                    most[each.pid] = max(most.get(each.pid, 0), each.memory_info().rss)
            with suppress(psutil.TimeoutExpired):
                process.wait(SAMPLE_SECONDS)
    wall, after = time.perf_counter() - started, os.times()
    if process.returncode:
        raise SystemExit(f"{command}: {(folder / 'output.txt').read_text()[-2000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Usage(round(wall, 3), round(cpu, 3), tuple(sorted((rss / 2**20 for rss in most.values()), reverse=True)))


EMPTY_JOB = """import dagster as dg
@dg.op
def nothing() -> None: ...
@dg.job(executor_def=dg.in_process_executor)
def empty(): nothing()
defs = dg.Definitions(jobs=[empty])
"""


def run_dagster_job(folder: Path, settings: Settings | None) -> Usage:
    """Run the empty job, or `shadow_run` if there are settings, in a folder with the project's dagster.yaml."""
    shutil.copy(HERE.parent / "dagster.yaml", folder)
    (folder / "empty_job.py").write_text(EMPTY_JOB)
    module, job = ("empty_job", "empty") if settings is None else ("hybrid_platform.definitions", "shadow_run")
    command = [str(Path(sys.executable).with_name("dagster")), "job", "execute", "-m", module, "-j", job]
    if settings is not None:
        given = {"data_dir": str(folder / "data"), "gates": {"cpu_pressure_limit": 100.0}, **settings}
        (folder / "run.json").write_text(json.dumps({"resources": {"session": {"config": given}}}))
        command += ["-c", "run.json"]
    return run_whole(command, folder, {"PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore"})


def start(subject: Subject) -> Figures:
    """Compare `shadow_run` of a ten-tick feed with an empty Dagster job, as whole processes."""
    with tempfile.TemporaryDirectory() as made:
        empty = run_dagster_job(Path(made), None)
        figures = {"empty job s": empty.wall_s, "empty job CPU s": empty.cpu_s}
        for isolation in ("thread", "process"):
            feed = {"synthetic": {"ticks_per_second": "max", "ticks": 10}}
            ten = run_dagster_job(Path(made), {"isolation": isolation, "feed": feed})
            figures |= {f"{isolation} s": ten.wall_s, f"{isolation} CPU s": ten.cpu_s}
            figures[f"{isolation} ÷ empty job"] = round(ten.wall_s / empty.wall_s, 2)
    return figures


def memory(subject: Subject) -> Figures:
    """Compare the peak memory of each process of a replay under Dagster, report included, with an empty job."""
    with tempfile.TemporaryDirectory() as made:
        empty = run_dagster_job(Path(made), None).memory_mb[0]
        figures = {"empty job MB": round(empty)}
        for name, asked in (("sparse", {"name": "periodic", **SPARSE}), ("dense", {"name": "sma_crossover"})):
            held = run_dagster_job(Path(made), build_settings(subject, **asked)).memory_mb
            figures[f"{name} MB beyond it, parent"] = round(held[0] - empty)
            figures[f"{name} MB beyond it, sandboxed"] = round(held[1] - empty) if len(held) > 1 else 0
    return figures


def cli(subject: Subject) -> Figures:
    """Measure `--help` and `healthcheck` as whole processes."""
    command = str(Path(sys.executable).with_name("hybrid-platform"))
    with tempfile.TemporaryDirectory() as made:
        run_session(
            Path(made), {"isolation": "thread", "feed": {"synthetic": {"ticks_per_second": "max", "ticks": 10}}}
        )
        figures: Figures = {}
        for asked in (["--help"], ["healthcheck", "--data-dir", made]):
            took = run_whole([command, *asked], Path(made))
            figures |= {f"{asked[0]} s": took.wall_s, f"{asked[0]} CPU s": took.cpu_s}
    return figures


def growth(subject: Subject) -> Figures:
    """Measure a database that grows to 1, 10 and 50 million ticks: the median of three replays at each size."""
    figures: Figures = {}
    command = str(Path(sys.executable).with_name("hybrid-platform"))
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as made:
        held = 0
        for millions in (1, 10, 50):
            # One session fills the database. The measured sessions that follow replay one file each.
            missing = max(0, round(millions * 10**6 / count_rows(subject.file)) - 3 - held)
            found = []
            for files in (*([missing] if missing else []), 1, 1, 1):
                settings = build_settings(subject, "periodic", **SPARSE)
                settings["feed"]["replay"] |= {"path": copy_file(subject.file, Path(made), files), "order": "listed"}
                found.append(run_session(Path(made) / "data", settings, "--judged"))
                held += files
            last = found[-3:]
            figures[f"{millions} M: rows/s"] = median(each["rows_per_second"] for each in last)
            figures[f"{millions} M: memory MB, parent"] = max(each["peak_memory_mb"]["parent"] for each in found)
            figures[f"{millions} M: postflight s"] = median(each["postflight_s"] for each in last)
            check = run_whole([command, "healthcheck", "--data-dir", str(Path(made) / "data")], Path(made))
            figures[f"{millions} M: healthcheck s"] = check.wall_s
    figures["50 M ÷ 1 M"] = round(figures["50 M: rows/s"] / figures["1 M: rows/s"], 3)
    return figures


def count_rows(file: Path) -> int:
    """Return the number of rows of a file without its header."""
    with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as lines:
        return sum(1 for _ in lines) - 1


def copy_file(file: Path, folder: Path, count: int) -> list[str]:
    """Return the paths of ``count`` copies of the file, because a replay reads each file once."""
    names = [folder / f"{number:03}-{file.name}" for number in range(count)]
    for name in names:
        if not name.exists():
            shutil.copyfile(file, name)
    return list(map(str, names))


MEASURES: dict[str, Callable[[Subject], Figures]] = {
    "sparse": sparse,
    "columnar": columnar,
    "dense": dense,
    "dense-ticks": dense_ticks,
    "paper": paper,
    "latency-1k": latency(1_000, every=1_000 // 20),
    "latency-10k": latency(10_000, every=10_000 // 20),
    "latency-1k-dense": latency(1_000, every=10),
    "latency-10k-dense": latency(10_000, every=10),
    "burning": burning,
    "memory": memory,
    "start": start,
    "cli": cli,
    "growth": growth,
}
ONLY_WHEN_ASKED = ("growth",)
"""Measures that take minutes and gigabytes."""
