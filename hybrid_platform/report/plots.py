"""Figures of trading, drawn with matplotlib: of one session, and of a comparison. SVG, 20 to 60 KB each.

in: a measured session, or the PnL of several · out: name -> bytes, deterministic for the same sessions. Times are UTC,
by the session clock. matplotlib is imported on use and without its global state, so any thread may draw. The colours
are readable on light and dark pages.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.ticks import Int64s
from hybrid_platform.report.measures.curve import Curve
from hybrid_platform.report.measures.session import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
INK, GRID, LINE, FILL, BUY, SELL = "#7a7f87", "#9aa0a6", "#2f7ed8", "#2f7ed833", "#159a5b", "#d9534f"
MIN_FILLS = 2
MAX_PANELS = 4
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "hybrid-platform",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.alpha": 0.3,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def draw_session(measured: Measured, kind: str = "svg") -> dict[str, bytes]:
    """Return the figures of a session: ``equity``, ``drawdown`` …, except those without data.

    A session below `MIN_FILLS` fills has no figures: its tables are enough, and loading matplotlib would take longer
    than the session.
    """
    if measured.curve is None or measured.measures.counts.fills < MIN_FILLS:
        return {}
    pictures = ((name, render_figure(partial(draw, measured), kind)) for name, draw in PLOTS.items())
    return {name: picture for name, picture in pictures if picture is not None}


def render_figure(draw: Callable[[], Figure | None], kind: str = "svg") -> bytes | None:
    """Return a drawn figure as a file, or None if the function draws nothing."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        figure = draw()
        if figure is None:
            return None
        out = io.BytesIO()
        made = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(out, format=kind, metadata=made, transparent=kind == "svg", dpi=110)
        return out.getvalue()


def new_figure(title: str, label: str, panels: int = 1, height: float = 2.8) -> tuple[Figure, list[Axes]]:
    """Return a wide figure with its panels, one below the other on a common x axis."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    figure = Figure(figsize=(9, height * panels), layout="constrained")
    axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0].tolist()
    axes[0].set_title(title, loc="left")
    for each in axes:
        each.set_ylabel(label)
        each.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    return figure, axes


def _times(axes: Axes, ts: npt.NDArray[np.int64]) -> Any:
    """Return instants in the numbers of a time axis."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    return date2num(ts.astype("datetime64[ns]"))  # type: ignore[no-untyped-call]


def _equity(measured: Measured) -> Figure:
    curve, result = _curve(measured), measured.measures.result
    figure, (axes,) = new_figure(f"Equity, USD ({measured.measures.mode})", "USD")
    times = _times(axes, curve.ts)
    axes.fill_between(times, curve.low, curve.high, color=FILL, linewidth=0)
    axes.plot(times, curve.equity, color=LINE, linewidth=1.2)
    axes.axhline(float(result.starting_cash), color=GRID, linewidth=0.8, linestyle="--")
    return figure


def _drawdown(measured: Measured) -> Figure:
    curve, watch = _curve(measured), measured.measures.risk.drawdown
    start = float(measured.measures.result.starting_cash)
    peaks = np.maximum(np.maximum.accumulate(curve.high), start)
    figure, (axes,) = new_figure("Drawdown from the peak, USD", "USD", height=2.2)
    times = _times(axes, curve.ts)
    axes.fill_between(times, curve.low - peaks, 0, color="#d9534f55", linewidth=0)
    axes.plot(times, curve.equity - peaks, color=SELL, linewidth=0.9)
    if watch is not None and watch.usd:
        text = f"deepest {watch.usd:,.2f} USD" + ("" if watch.percent is None else f" ({watch.percent:.3g} %)")
        at = _times(axes, np.array([watch.trough_at]))[0]
        is_late = at > (times[0] + times[-1]) / 2
        axes.annotate(
            text, (at, -watch.usd), xytext=(-6 if is_late else 6, 4), textcoords="offset points", fontsize=8,
            ha="right" if is_late else "left",
        )  # fmt: skip
    return figure


def _exposure(measured: Measured) -> Figure | None:
    curve, found = _curve(measured), measured.measures.exposure
    if found is None or not found.max:
        return None
    figure, (axes,) = new_figure("Exposure: Σ |position| × price, USD", "USD", height=2.2)
    times = _times(axes, curve.ts)
    axes.fill_between(times, curve.exposure, 0, color=FILL, linewidth=0, step="pre")
    axes.plot(times, curve.exposure, color=LINE, linewidth=0.8, drawstyle="steps-pre")
    axes.axhline(found.mean, color=GRID, linewidth=0.8, linestyle="--")
    axes.annotate(
        f"mean {found.mean:,.0f}", (times[0], found.mean), xytext=(4, 3), textcoords="offset points", fontsize=8
    )
    axes.set_ylim(bottom=0)
    return figure


def _price(measured: Measured) -> Figure:
    curve, replay = _curve(measured), measured.replay
    counts = np.array([curve.marks.count(place) for place in range(len(replay.instruments))])
    shown = np.argsort(-counts, kind="stable")[:MAX_PANELS].tolist()
    figure, panels = new_figure("Last price with fills (▲ BUY, ▼ SELL)", "price", len(shown), height=2.8)
    for axes, instrument in zip(panels, shown, strict=True):
        times = _times(axes, curve.ts)
        there = ~np.isnan(curve.price[:, instrument])
        axes.plot(times[there], curve.price[there, instrument], color=GRID, linewidth=0.9, zorder=1)
        for side, mark, colour in ((1, "^", BUY), (-1, "v", SELL)):
            ts, price = curve.marks.points(instrument, side)
            axes.scatter(_times(axes, ts), price, marker=mark, s=16, color=colour, linewidths=0, zorder=2)
        item = replay.instruments[instrument]
        axes.set_ylabel(f"{item.symbol}, {item.quote}")
    return figure


def _latency(measured: Measured) -> Figure | None:
    sample = measured.replay.first_fill_ms
    waited = sample.values
    if not len(waited) or not waited.min() > 0:
        return None
    figure, (axes,) = new_figure("Order to first fill, ms of the session clock", "orders", height=2.2)
    low, high = float(waited.min()), float(waited.max())
    edges = np.geomspace(low, high * 1.001, 41) if high > low * 1.01 else np.linspace(low * 0.9, low * 1.1, 11)
    axes.hist(waited, bins=edges.tolist(), weights=np.full(len(waited), sample.every), color=LINE, alpha=0.7)
    axes.set_xscale("log")
    of = sample.quantiles()
    for share, value in ((50, of.p50), (99, of.p99)) if of else ():
        axes.axvline(value, color=INK, linewidth=0.8, linestyle="--")
        text = f"p{share} {value:,.3g} ms" if value < 1000 else f"p{share} {value:,.0f} ms"
        axes.annotate(
            text, (value, 0.95), xycoords=("data", "axes fraction"), xytext=(3, 0), textcoords="offset points",
            fontsize=8, va="top",
        )  # fmt: skip
    axes.set_xlabel("ms")
    return figure


def _curve(measured: Measured) -> Curve:
    assert measured.curve is not None
    return measured.curve


PLOTS: dict[str, Callable[[Measured], Figure | None]] = {
    "equity": _equity,
    "drawdown": _drawdown,
    "price": _price,
    "exposure": _exposure,
    "latency": _latency,
}
"""Figures of a session in the order of the report."""

COLOURS = ("#2f7ed8", "#e07b39", "#159a5b", "#b45fc0", "#c9a227", "#d9534f", "#5f6b7a", "#2aa9b8", "#8a6d3b", "#7e57c2")
MAX_LEGEND = len(COLOURS)
MAX_BARS = 60
_UNITS = ((86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))


class PnlLine(NamedTuple):
    """PnL of one session over time."""

    label: str
    since: Int64s
    """Nanoseconds since its first step."""
    pnl: Floats
    """USD."""


def draw_comparison(
    lines: Sequence[PnlLine], pnl: Mapping[str, float], names: Sequence[str], points: Sequence[tuple[Any, ...]]
) -> dict[str, bytes]:
    """Return the figures of a comparison; ``names`` and ``points``: the varied settings and their values."""
    drawn = {"pnl_over_time": partial(_over_time, lines), "pnl": partial(_bars, pnl)}
    if len(names) == 2:
        drawn["pnl_by_parameters"] = partial(_grid, list(pnl.values()), names, points)
    pictures = ((name, render_figure(draw)) for name, draw in drawn.items())
    return {name: picture for name, picture in pictures if picture is not None}


def _over_time(lines: Sequence[PnlLine]) -> Figure | None:
    if not lines:
        return None
    longest = max(int(line.since[-1]) for line in lines) / NS_PER_S
    length, unit = next(((length, unit) for length, unit in _UNITS if longest >= 2 * length), _UNITS[-1])
    figure, (axes,) = new_figure("PnL over time, USD", "USD")
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
    figure, (axes,) = new_figure("PnL at the end, USD", "", height=1.0 + 0.28 * len(shown))
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
    """Draw PnL over two parameters that form a grid."""
    downs, acrosses = (list(dict.fromkeys(point[axis] for point in points)) for axis in (0, 1))
    values = np.full((len(downs), len(acrosses)), np.nan)
    for (down, across), value in zip(points, pnl, strict=True):
        values[downs.index(down), acrosses.index(across)] = value
    if min(values.shape) < 2:
        return None
    figure, (axes,) = new_figure(f"PnL, USD, by {names[0]} and {names[1]}", names[0], height=1.2 + 0.4 * len(downs))
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
