"""Sessions side by side: what was set differently, what came out differently, in tables and pictures.

in: two or more finished sessions, of one database or of several · out: `report.md`, `measures.csv` and SVG
files in a folder below the data directory. Every figure is measured from the sessions' tables anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from hybrid_platform.domain.clocks import iso_utc
from hybrid_platform.domain.orders import SignalRecord
from hybrid_platform.report.comparison_plots import Line, comparison_plots
from hybrid_platform.report.markdown import table
from hybrid_platform.report.measures.records import Measures
from hybrid_platform.report.measures.session import measure_session
from hybrid_platform.report.trading import number
from hybrid_platform.security.paths import DataDir
from hybrid_platform.storage.queries import find_session
from hybrid_platform.storage.reader import read_rows
from hybrid_platform.storage.session_records import SessionInfo

if TYPE_CHECKING:
    import pandas as pd

NOT_COMPARED = ("data_dir", "database_url", "gates.", "keys.", "live.")
"""Settings that decide nothing about trading."""


class Side(NamedTuple):
    """One session of a comparison."""

    label: str
    session: SessionInfo
    settings: dict[str, Any]
    """By dotted path."""
    measures: Measures
    line: Line | None
    """Its PnL over time; None where it has no ticks."""
    signals_sha256: str


def read_side(engine: sa.Engine, session_id: str, label: str) -> Side:
    """Measure one session; raise ConfigError where there is none of that id."""
    session = find_session(engine, session_id)
    measured = measure_session(engine, session_id)
    curve, cash = measured.curve, float(measured.measures.result.starting_cash)
    line = None if curve is None else Line(label, curve.ts - int(curve.ts[0]), curve.equity - cash)
    digest = hashlib.sha256()
    for row in read_rows(engine, session_id, SignalRecord):
        digest.update(f"{row[2]},{row[5]}\n".encode())
    return Side(label, session, flat(json.loads(session.settings)), measured.measures, line, digest.hexdigest())


def write_comparison(
    data_dir: DataDir, folder: str, title: str, sides: Sequence[Side], varied: Sequence[str] = ()
) -> Path:
    """Write the report of a comparison below the data directory, and return its path.

    ``varied``: the settings that a sweep went through, for its pictures.
    """
    frame = side_by_side(sides)
    points = [tuple(side.settings.get(path) for path in varied) for side in sides]
    plots = comparison_plots(
        [side.line for side in sides if side.line is not None],
        {side.label: float(side.measures.result.pnl) for side in sides},
        [name.rpartition(".")[2] for name in varied],
        points,
    )
    for name, picture in plots.items():
        data_dir.write_atomic(f"{folder}/{name}.svg", picture)
    data_dir.write_atomic(f"{folder}/measures.csv", frame.to_csv().encode())
    text = comparison_report(title, sides, frame, plots)
    return data_dir.write_atomic(f"{folder}/report.md", text.encode())


def comparison_report(title: str, sides: Sequence[Side], frame: pd.DataFrame, plots: Iterable[str]) -> str:
    """Return the Markdown."""
    heads = ("", *(side.label for side in sides))
    parts = [
        f"# {title}",
        table(("", "session", "mode", "strategy", "feed", "state", "started"), [_head(side) for side in sides]),
        "## What was set differently",
        table(heads, rows) if (rows := different_settings(sides)) else "Nothing that decides a trade.",
        "## What came out",
        *(f"![{name}]({name}.svg)" for name in plots),
        table((*heads, *(("difference",) if "difference" in frame else ())), _cells(frame)),
    ]
    return "\n\n".join(parts) + "\n"


def different_settings(sides: Sequence[Side]) -> list[tuple[Any, ...]]:
    """Return the settings that are not the same in all sessions: dotted path, then each one's value."""
    paths = sorted({path for side in sides for path in side.settings if not path.startswith(NOT_COMPARED)})
    rows = [(path, *(side.settings.get(path) for side in sides)) for path in paths]
    return [row for row in rows if len({json.dumps(value, sort_keys=True) for value in row[1:]}) > 1]


def side_by_side(sides: Sequence[Side]) -> pd.DataFrame:
    """Return figures by session, a column each; with two sessions also what lies between."""
    import pandas as pd

    figures = {side.label: figures_of(side) for side in sides}
    names = dict.fromkeys(name for of in figures.values() for name in of)
    frame = pd.DataFrame({label: [of.get(name) for name in names] for label, of in figures.items()}, index=list(names))
    frame = frame.astype(object).where(frame.notna(), None)
    if len(sides) == 2:
        frame["difference"] = [_between(one, other) for one, other in frame.itertuples(index=False)]
    return frame


def figures_of(side: Side) -> dict[str, Any]:
    """Return a session's figures by name, numbers as floats; what it does not have is left out."""
    found = side.measures
    fall, latency = found.risk.drawdown, found.latency.order_to_first_fill
    figures: dict[str, Any] = {
        "signals": found.counts.signals,
        "signals digest": side.signals_sha256[:16],
        "orders": found.counts.orders,
        "fills": found.counts.fills,
        **{f"vetoes {reason}": count for reason, count in found.counts.vetoes.items()},
        **{f"rejects {reason}": count for reason, count in found.counts.rejects.items()},
        **{f"{name}, USD": float(getattr(found.result, name)) for name in _RESULT},
        "return, %": found.result.return_percent,
        "turnover, × starting cash": found.result.turnover,
        "maximum drawdown, USD": fall and fall.usd,
        "maximum drawdown, %": fall and fall.percent,
        "drawdown length, s": fall and fall.length_s,
        **{f"{name}, annualised": getattr(found.risk, name) for name in ("sharpe", "sortino", "volatility")},
        "calmar": found.risk.calmar,
        "exposure mean, USD": found.exposure and found.exposure.mean,
        "exposure most, USD": found.exposure and found.exposure.most,
        "round trips": found.trips.count,
        "win rate": found.trips.win_rate,
        "profit factor": found.trips.profit_factor,
        "expectancy, USD": found.trips.expectancy,
        "slippage, bps": found.cost.slippage_bps,
        "implementation shortfall, bps": found.cost.shortfall_bps,
        "filled, %": found.cost.filled_percent,
        "order → first fill p50, ms": latency and latency.p50,
        "order → first fill p99, ms": latency and latency.p99,
    }
    return {name: value for name, value in figures.items() if value is not None}


_RESULT = ("pnl", "realised", "unrealised", "fees", "volume", "final_equity")


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted path."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{path}.")
        else:
            found[path] = value
    return found


def folder_of(sides: Sequence[Side]) -> str:
    """Return where a comparison of these sessions goes, below the data directory."""
    ids = [side.session.session_id for side in sides]
    name = "-".join(ids) if len(ids) == 2 else hashlib.sha256(" ".join(ids).encode()).hexdigest()[:16]
    return f"reports/compare/{name}"


def _head(side: Side) -> tuple[Any, ...]:
    row = side.session
    return (side.label, row.session_id, row.mode, row.strategy, row.feed, row.state.value, iso_utc(row.started_at))


def _cells(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    return [(name, *map(_cell, values)) for name, values in zip(frame.index, frame.to_numpy(), strict=True)]


def _cell(value: Any) -> Any:
    return number(value) if isinstance(value, float) else value


def _between(one: Any, other: Any) -> Any:
    if isinstance(one, str) or isinstance(other, str):
        return "the same" if one == other else "another"
    return None if one is None or other is None else other - one
