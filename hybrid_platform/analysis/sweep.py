"""Parameter sweeps: one session for each point of a grid, and one report over all of them.

in: settings, and the settings to vary with their values · out: below ``sweeps/<name>/`` a plan, a data directory
for each point, and a comparison. Each point runs in a fresh process, as from the command line.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from hybrid_platform.domain.errors import ConfigError, EvidenceError, Fault
from hybrid_platform.evidence.files import encode_record, read_json
from hybrid_platform.report.comparison import read_compared_session, write_comparison
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.base import shown
from hybrid_platform.settings.loading import load_settings, merge
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.settings.yaml_text import YAML_ERRORS, load_yaml
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import default_url
from hybrid_platform.storage.queries import find_sessions
from hybrid_platform.storage.session_records import SessionState

MAX_POINTS = 1_000
DRAIN_SECONDS = 120.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_UNSAFE = re.compile(r"[^A-Za-z0-9.+-]")


class SweepPoint(msgspec.Struct, frozen=True):
    """One session of a sweep."""

    key: str
    """For example ``short=3,long=20``: the name of its directory, and with the sweep's name that of its partition."""
    values: dict[str, Any]
    """Dotted setting -> value."""


class SweepPlan(msgspec.Struct, frozen=True):
    """Plan of a sweep (``plan.json``)."""

    name: str
    base: dict[str, Any]
    """All settings at the time of planning."""
    varied: tuple[str, ...]
    points: tuple[SweepPoint, ...]

    def point(self, key: str) -> SweepPoint:
        """Return a point; raise ConfigError for an unknown key."""
        for point in self.points:
            if point.key == key:
                return point
        raise ConfigError([Fault("sweep", f"a point of {self.name}", repr(key[:80]))])


def read_sweep(path: Path) -> tuple[str, Mapping[str, Any]]:
    """Return name and ``vary`` from a run config of the job `plan_sweep`; raise ConfigError if they are missing."""
    try:
        found = load_yaml(path.read_text(encoding="utf-8"))["ops"]["make_plan"]["config"]
        return str(found["name"]), found["vary"]
    except (OSError, KeyError, TypeError, *YAML_ERRORS) as error:
        expected = "a YAML file with ops.make_plan.config: {name, vary} (run_configs/sweep.yaml)"
        raise ConfigError([Fault(str(path), expected, f"{type(error).__name__}: {error}")]) from None


def plan_sweep(name: str, settings: SessionSettings, vary: Mapping[str, Any]) -> SweepPlan:
    """Return the plan of every combination of the varied values, in their order.

    Raises ConfigError, with point and setting, for a combination that would not run.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError([Fault("name", f"a name matching {_NAME.pattern}", shown(name))])
    if not isinstance(vary, Mapping) or not vary:
        raise ConfigError([Fault("vary", "dotted setting: [values …]", shown(vary))])
    for path, values in vary.items():
        if not isinstance(values, list | tuple) or not values:
            raise ConfigError([Fault(f"vary.{path}", "a list of values", shown(values))])
    ends = [path.rpartition(".")[2] for path in vary]
    labels = ends if len(set(ends)) == len(ends) else list(vary)
    base = settings.model_dump(mode="json")
    points = []
    for number, values in enumerate(itertools.product(*vary.values())):
        if number >= MAX_POINTS:
            raise ConfigError([Fault("vary", f"at most {MAX_POINTS} points", "more")])
        key = ",".join(
            f"{label}={_UNSAFE.sub('_', str(value))[:40]}" for label, value in zip(labels, values, strict=True)
        )
        points.append(SweepPoint(key, dict(zip(vary, values, strict=True))))
    plan = SweepPlan(name, base, tuple(vary), tuple(points))
    if len({point.key for point in points}) < len(points):
        raise ConfigError([Fault("vary", "values that look different from each other", shown(dict(vary)))])
    for point in points:
        build_point_settings(plan, point)
    return plan


def write_plan(data_dir: DataDir, plan: SweepPlan) -> Path:
    """Write a plan; it replaces a plan of the same name, but not the sessions of its points."""
    return data_dir.write_atomic(f"sweeps/{plan.name}/plan.json", encode_record(plan))


def read_plan(data_dir: DataDir, name: str) -> SweepPlan:
    """Return a plan; raise ConfigError for an unknown name."""
    if not _NAME.fullmatch(name):
        raise ConfigError([Fault("name", f"a name matching {_NAME.pattern}", shown(name))])
    try:
        return read_json(data_dir, f"sweeps/{name}/plan.json", SweepPlan)
    except EvidenceError as error:
        raise ConfigError([Fault("sweep", f"a plan below {data_dir.root}/sweeps", str(error))]) from None


def build_point_settings(plan: SweepPlan, point: SweepPoint, data_dir: DataDir | None = None) -> SessionSettings:
    """Return the settings of a point, with its own data directory if one is given; raise ConfigError for bad ones."""
    overrides: dict[str, Any] = {}
    for path, value in point.values.items():
        *sections, name = path.split(".")
        nested: dict[str, Any] = {name: value}
        for section in reversed(sections):
            nested = {section: nested}
        overrides = merge(overrides, nested)
    place = {} if data_dir is None else {"data_dir": str(data_dir.root / _folder(plan, point)), "database_url": None}
    try:
        return load_settings(plan.base, overrides, place, environ={})
    except ConfigError as error:
        raise ConfigError(
            [Fault(f"{point.key}: {each.path}", each.expected, each.got) for each in error.faults]
        ) from None


def run_point(data_dir: DataDir, plan: SweepPlan, key: str) -> int:
    """Run the session of a point in a fresh process and return its exit code; an interrupt drains the session."""
    point = plan.point(key)
    settings = build_point_settings(plan, point, data_dir)
    path = data_dir.write_atomic(
        f"{_folder(plan, point)}/settings.json", encode_record(settings.model_dump(mode="json"))
    )
    command = [sys.executable, "-m", "hybrid_platform.cli", "shadow-run", "--config", str(path)]
    # A point is a separate asset, so it must not be reported to Dagster as the session.
    environ = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environ) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait(DRAIN_SECONDS)
            raise


def write_sweep_report(data_dir: DataDir, plan: SweepPlan) -> Path:
    """Write one report over the last complete session of every point; raise ConfigError without such a session."""
    compared = []
    for point in plan.points:
        url = default_url(data_dir.root / _folder(plan, point))
        if not (data_dir.root / _folder(plan, point) / "bot.db").is_file():
            continue
        engine = open_engine(url, role="read")
        try:
            found = find_sessions(engine, state=SessionState.COMPLETE, limit=1)
            compared += [read_compared_session(engine, each.session_id, point.key) for each in found]
        finally:
            engine.dispose()
    if not compared:
        raise ConfigError([Fault("sweep", f"a complete session of {plan.name}", "none")])
    title = f"Sweep {plan.name}: {len(compared)} of {len(plan.points)} points"
    return write_comparison(data_dir, f"sweeps/{plan.name}/report", title, compared, plan.varied)


def _folder(plan: SweepPlan, point: SweepPoint) -> str:
    return f"sweeps/{plan.name}/{point.key}"
