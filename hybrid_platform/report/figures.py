"""The pictures of a session's trading: equity, drawdown, price with fills, exposure, latency. SVG, 20 to 60 KB each.

in: a measured session · out: name -> bytes, the same for the same session. Times are UTC on the session
clock. matplotlib is imported when it is needed; without its global state, so any thread may draw. Colours
read on light and dark pages alike.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

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


def session_plots(measured: Measured, kind: str = "svg") -> dict[str, bytes]:
    """Return the pictures that there is something to draw for, by name: ``equity``, ``drawdown`` …

    None below `MIN_FILLS` fills: a table says it all, and matplotlib takes longer to load than such a session to run.
    """
    if measured.curve is None or measured.measures.counts.fills < MIN_FILLS:
        return {}
    pictures = ((name, rendered(partial(draw, measured), kind)) for name, draw in PLOTS.items())
    return {name: picture for name, picture in pictures if picture is not None}


def rendered(draw: Callable[[], Figure | None], kind: str = "svg") -> bytes | None:
    """Return what a function draws as a file, or None where it draws nothing."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        figure = draw()
        if figure is None:
            return None
        out = io.BytesIO()
        made = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(out, format=kind, metadata=made, transparent=kind == "svg", dpi=110)
        return out.getvalue()


def axes_of(title: str, label: str, panels: int = 1, height: float = 2.8) -> tuple[Figure, list[Axes]]:
    """Return a wide figure with panels one below the other, that share their x axis."""
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
    """Return instants as the axis takes them."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    return date2num(ts.astype("datetime64[ns]"))  # type: ignore[no-untyped-call]


def _equity(measured: Measured) -> Figure:
    curve, result = _curve(measured), measured.measures.result
    figure, (axes,) = axes_of(f"Equity, USD ({measured.measures.mode})", "USD")
    times = _times(axes, curve.ts)
    axes.fill_between(times, curve.low, curve.high, color=FILL, linewidth=0)
    axes.plot(times, curve.equity, color=LINE, linewidth=1.2)
    axes.axhline(float(result.starting_cash), color=GRID, linewidth=0.8, linestyle="--")
    return figure


def _drawdown(measured: Measured) -> Figure:
    curve, watch = _curve(measured), measured.measures.risk.drawdown
    start = float(measured.measures.result.starting_cash)
    peaks = np.maximum(np.maximum.accumulate(curve.high), start)
    figure, (axes,) = axes_of("Drawdown from the peak, USD", "USD", height=2.2)
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
    if found is None or not found.most:
        return None
    figure, (axes,) = axes_of("Exposure: Σ |position| × price, USD", "USD", height=2.2)
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
    curve, tape = _curve(measured), measured.tape
    counts = np.array([curve.marks.count(place) for place in range(len(tape.instruments))])
    shown = np.argsort(-counts, kind="stable")[:MAX_PANELS].tolist()
    figure, panels = axes_of("Last price with fills (▲ BUY, ▼ SELL)", "price", len(shown), height=2.8)
    for axes, instrument in zip(panels, shown, strict=True):
        times = _times(axes, curve.ts)
        there = ~np.isnan(curve.price[:, instrument])
        axes.plot(times[there], curve.price[there, instrument], color=GRID, linewidth=0.9, zorder=1)
        for side, mark, colour in ((1, "^", BUY), (-1, "v", SELL)):
            ts, price = curve.marks.of(instrument, side)
            axes.scatter(_times(axes, ts), price, marker=mark, s=16, color=colour, linewidths=0, zorder=2)
        item = tape.instruments[instrument]
        axes.set_ylabel(f"{item.symbol}, {item.quote}")
    return figure


def _latency(measured: Measured) -> Figure | None:
    sample = measured.tape.first_fill_ms
    waited = sample.values
    if not len(waited) or not waited.min() > 0:
        return None
    figure, (axes,) = axes_of("Order to first fill, ms of the session clock", "orders", height=2.2)
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
"""Name -> what draws it; the order in which they are shown."""
