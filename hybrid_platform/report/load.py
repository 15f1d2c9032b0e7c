"""A session's load and its sampling ladder, as rows for both reports (S15).

in: the figures of the overload watch · out: facts, and a row a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from hybrid_platform.evidence.records import OverloadFigures

Number = TypeVar("Number", int, float)
STEP_HEADS = ("at", "after, s", "one tick in", "because", "had held, s")


def load_facts(figures: OverloadFigures) -> list[tuple[str, Any]]:
    """Return name and value of each figure."""
    source = figures.source or "no reading"
    return [
        ("CPU pressure", f"mean {figures.mean_pressure:g} %, most {figures.most_pressure:g} % ({source})"),
        ("channels, most waiting", f"{figures.most_queue:g} %"),
        ("ingest behind, most", f"{figures.most_lag_ms:g} ms"),
        ("limits", _limits(figures)),
        ("at or above a limit", f"{figures.above_s:g} s, at most {figures.longest_above_s:g} s at a time"),
        ("… while the feed was too slow to be sampled", f"{figures.spared_s:g} s" if figures.spared_s else None),
        *((f"one tick in {rung}", f"{seconds:g} s") for rung, seconds in _by_rung(figures.seconds_at) if seconds),
        *((f"sampled out at one in {rung}", count) for rung, count in _by_rung(figures.sampled_out)),
        ("stopped at the top", "yes: OVERLOAD" if figures.stopped else None),
    ]


def step_rows(figures: OverloadFigures) -> list[tuple[Any, ...]]:
    """Return the steps of the ladder as rows under `STEP_HEADS`."""
    return [
        (step.at, f"{step.elapsed_s:.1f}", f"{step.before} → {step.after}", step.why, f"{step.held_s:.1f}")
        for step in figures.steps
    ]


def _limits(figures: OverloadFigures) -> str:
    limits = (
        ("CPU pressure", figures.pressure_limit, "%"),
        ("queue", figures.queue_limit, "%"),
        ("lag", figures.lag_limit_ms, "ms"),
    )
    said = ", ".join(f"{name} {'off' if limit is None else f'{limit:g} {unit}'}" for name, limit, unit in limits)
    return said if figures.sample else said + "; only watched"


def _by_rung(values: Mapping[str, Number]) -> list[tuple[str, Number]]:
    return sorted(values.items(), key=lambda item: int(item[0]))
