"""The pictures of a comparison: PnL over time, PnL by session, and over the two parameters of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.ticks import Int64s
from hybrid_platform.report.figures import BUY, GRID, SELL, Floats, axes_of, rendered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#2f7ed8", "#e07b39", "#159a5b", "#b45fc0", "#c9a227", "#d9534f", "#5f6b7a", "#2aa9b8", "#8a6d3b", "#7e57c2")
MAX_LEGEND = len(COLOURS)
MAX_BARS = 60
_UNITS = ((86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))


class Line(NamedTuple):
    """One session's PnL."""

    label: str
    since: Int64s
    """Nanoseconds since its first step."""
    pnl: Floats
    """USD."""


def comparison_plots(
    lines: Sequence[Line], pnl: Mapping[str, float], names: Sequence[str], points: Sequence[tuple[Any, ...]]
) -> dict[str, bytes]:
    """Return pictures by name; ``names`` and ``points``: what was varied, and its values for each session."""
    drawn = {"pnl_over_time": partial(_over_time, lines), "pnl": partial(_bars, pnl)}
    if len(names) == 2:
        drawn["pnl_by_parameters"] = partial(_grid, list(pnl.values()), names, points)
    pictures = ((name, rendered(draw)) for name, draw in drawn.items())
    return {name: picture for name, picture in pictures if picture is not None}


def _over_time(lines: Sequence[Line]) -> Figure | None:
    if not lines:
        return None
    longest = max(int(line.since[-1]) for line in lines) / NS_PER_S
    length, unit = next(((length, unit) for length, unit in _UNITS if longest >= 2 * length), _UNITS[-1])
    figure, (axes,) = axes_of("PnL over time, USD", "USD")
    for place, line in enumerate(lines):
        axes.plot(
            line.since / NS_PER_S / length,
            line.pnl,
            color=COLOURS[place % len(COLOURS)],
            linewidth=1.1,
            label=line.label,
        )
    axes.axhline(0, color=GRID, linewidth=0.8, linestyle="--")
    axes.set_xlabel(f"{unit} since the first tick")
    if len(lines) <= MAX_LEGEND:
        axes.legend(loc="best", fontsize=8)
    return figure


def _bars(pnl: Mapping[str, float]) -> Figure | None:
    shown = list(pnl.items())[:MAX_BARS]
    figure, (axes,) = axes_of("PnL at the end, USD", "", height=1.0 + 0.28 * len(shown))
    values = [value for _, value in shown]
    axes.barh(range(len(shown)), values, color=[BUY if value >= 0 else SELL for value in values], height=0.7)
    axes.set_yticks(range(len(shown)), [label for label, _ in shown])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    for place, value in enumerate(values):
        axes.annotate(
            f"{value:,.2f}", (value, place), xytext=(3 if value >= 0 else -3, 0), textcoords="offset points",
            ha="left" if value >= 0 else "right", va="center", fontsize=8,
        )  # fmt: skip
    return figure


def _grid(pnl: Sequence[float], names: Sequence[str], points: Sequence[tuple[Any, ...]]) -> Figure | None:
    """Draw PnL over two parameters, where they make a grid."""
    downs, acrosses = (list(dict.fromkeys(point[axis] for point in points)) for axis in (0, 1))
    values = np.full((len(downs), len(acrosses)), np.nan)
    for (down, across), value in zip(points, pnl, strict=True):
        values[downs.index(down), acrosses.index(across)] = value
    if min(values.shape) < 2:
        return None
    figure, (axes,) = axes_of(f"PnL, USD, by {names[0]} and {names[1]}", names[0], height=1.2 + 0.4 * len(downs))
    most = float(np.nanmax(np.abs(values))) or 1.0
    axes.imshow(values, cmap="RdYlGn", vmin=-most, vmax=most, aspect="auto", alpha=0.65)
    axes.set_xticks(range(len(acrosses)), [str(value) for value in acrosses])
    axes.set_yticks(range(len(downs)), [str(value) for value in downs])
    axes.set_xlabel(names[1])
    axes.grid(visible=False)
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            axes.annotate(f"{value:,.2f}", (column, row), ha="center", va="center", fontsize=8, color="#20242a")
    return figure
