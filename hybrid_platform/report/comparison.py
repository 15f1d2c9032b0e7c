"""Comparison of sessions: differences in settings and in results, as tables and figures.

in: two or more finished sessions, of one database or of several · out: `report.md`, `measures.csv` and SVG
files in a folder below the data directory. Every figure is measured again from the tables of the sessions.
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
from hybrid_platform.report.markdown import table
from hybrid_platform.report.measures.records import Measures
from hybrid_platform.report.measures.session import measure_session
from hybrid_platform.report.plots import PnlLine, draw_comparison
from hybrid_platform.report.trading import format_ratio
from hybrid_platform.security.paths import DataDir
from hybrid_platform.storage.queries import find_session
from hybrid_platform.storage.reader import read_rows
from hybrid_platform.storage.session_records import SessionInfo

if TYPE_CHECKING:
    import pandas as pd

NOT_COMPARED = ("data_dir", "database_url", "gates.", "keys.", "live.")
"""Prefixes of settings that do not affect trading."""


class ComparedSession(NamedTuple):
    """One session of a comparison."""

    label: str
    session: SessionInfo
    settings: dict[str, Any]
    """By dotted path."""
    measures: Measures
    line: PnlLine | None
    """PnL over time; None without ticks."""
    signals_sha256: str


def read_compared_session(engine: sa.Engine, session_id: str, label: str) -> ComparedSession:
    """Measure one session; raise ConfigError for an unknown id."""
    session = find_session(engine, session_id)
    measured = measure_session(engine, session_id)
    curve, cash = measured.curve, float(measured.measures.result.starting_cash)
    line = None if curve is None else PnlLine(label, curve.ts - int(curve.ts[0]), curve.equity - cash)
    digest = hashlib.sha256()
    for row in read_rows(engine, session_id, SignalRecord):
        digest.update(f"{row[2]},{row[5]}\n".encode())
    return ComparedSession(
        label, session, flatten(json.loads(session.settings)), measured.measures, line, digest.hexdigest()
    )


def write_comparison(
    data_dir: DataDir, folder: str, title: str, sessions: Sequence[ComparedSession], varied: Sequence[str] = ()
) -> Path:
    """Write the report of a comparison below the data directory, and return its path.

    ``varied``: the settings that a sweep varied, for its figures.
    """
    frame = build_comparison_frame(sessions)
    points = [tuple(compared.settings.get(path) for path in varied) for compared in sessions]
    plots = draw_comparison(
        [compared.line for compared in sessions if compared.line is not None],
        {compared.label: float(compared.measures.result.pnl) for compared in sessions},
        [name.rpartition(".")[2] for name in varied],
        points,
    )
    for name, picture in plots.items():
        data_dir.write_atomic(f"{folder}/{name}.svg", picture)
    data_dir.write_atomic(f"{folder}/measures.csv", frame.to_csv().encode())
    text = render_comparison(title, sessions, frame, plots)
    return data_dir.write_atomic(f"{folder}/report.md", text.encode())


def render_comparison(
    title: str, sessions: Sequence[ComparedSession], frame: pd.DataFrame, plots: Iterable[str]
) -> str:
    """Return the report of a comparison as Markdown."""
    heads = ("", *(compared.label for compared in sessions))
    parts = [
        f"# {title}",
        table(
            ("", "session", "mode", "strategy", "feed", "state", "started"), [_head(compared) for compared in sessions]
        ),
        "## Settings that differ",
        table(heads, rows) if (rows := find_different_settings(sessions)) else "None that affects trading.",
        "## Results",
        *(f"![{name}]({name}.svg)" for name in plots),
        table((*heads, *(("difference",) if "difference" in frame else ())), _cells(frame)),
    ]
    return "\n\n".join(parts) + "\n"


def find_different_settings(sessions: Sequence[ComparedSession]) -> list[tuple[Any, ...]]:
    """Return the settings that differ: dotted path, then the value of each session."""
    paths = sorted({path for compared in sessions for path in compared.settings if not path.startswith(NOT_COMPARED)})
    rows = [(path, *(compared.settings.get(path) for compared in sessions)) for path in paths]
    return [row for row in rows if len({json.dumps(value, sort_keys=True) for value in row[1:]}) > 1]


def build_comparison_frame(sessions: Sequence[ComparedSession]) -> pd.DataFrame:
    """Return a column of figures for each session, and the difference between two sessions."""
    import pandas as pd

    figures = {compared.label: collect_figures(compared) for compared in sessions}
    names = dict.fromkeys(name for of in figures.values() for name in of)
    frame = pd.DataFrame({label: [of.get(name) for name in names] for label, of in figures.items()}, index=list(names))
    frame = frame.astype(object).where(frame.notna(), None)
    if len(sessions) == 2:
        frame["difference"] = [_difference(one, other) for one, other in frame.itertuples(index=False)]
    return frame


def collect_figures(compared: ComparedSession) -> dict[str, Any]:
    """Return the figures that a session has, numbers as floats, with their names."""
    found = compared.measures
    drawdown, latency = found.risk.drawdown, found.latency.order_to_first_fill
    figures: dict[str, Any] = {
        "signals": found.counts.signals,
        "signals digest": compared.signals_sha256[:16],
        "orders": found.counts.orders,
        "fills": found.counts.fills,
        **{f"vetoes {reason}": count for reason, count in found.counts.vetoes.items()},
        **{f"rejects {reason}": count for reason, count in found.counts.rejects.items()},
        **{f"{name}, USD": float(getattr(found.result, name)) for name in _RESULT},
        "return, %": found.result.return_percent,
        "turnover, × starting cash": found.result.turnover,
        "maximum drawdown, USD": drawdown and drawdown.usd,
        "maximum drawdown, %": drawdown and drawdown.percent,
        "drawdown length, s": drawdown and drawdown.length_s,
        **{f"{name}, annualised": getattr(found.risk, name) for name in ("sharpe", "sortino", "volatility")},
        "calmar": found.risk.calmar,
        "exposure mean, USD": found.exposure and found.exposure.mean,
        "exposure most, USD": found.exposure and found.exposure.max,
        "round trips": found.round_trips.count,
        "win rate": found.round_trips.win_rate,
        "profit factor": found.round_trips.profit_factor,
        "expectancy, USD": found.round_trips.expectancy,
        "slippage, bps": found.cost.slippage_bps,
        "implementation shortfall, bps": found.cost.shortfall_bps,
        "filled, %": found.cost.filled_percent,
        "order → first fill p50, ms": latency and latency.p50,
        "order → first fill p99, ms": latency and latency.p99,
    }
    return {name: value for name, value in figures.items() if value is not None}


_RESULT = ("pnl", "realised", "unrealised", "fees", "volume", "final_equity")


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings with dotted paths as keys."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            found |= flatten(value, f"{path}.")
        else:
            found[path] = value
    return found


def comparison_folder(sessions: Sequence[ComparedSession]) -> str:
    """Return the folder, below the data directory, for a comparison of these sessions."""
    ids = [compared.session.session_id for compared in sessions]
    name = "-".join(ids) if len(ids) == 2 else hashlib.sha256(" ".join(ids).encode()).hexdigest()[:16]
    return f"reports/compare/{name}"


def _head(compared: ComparedSession) -> tuple[Any, ...]:
    row = compared.session
    return (compared.label, row.session_id, row.mode, row.strategy, row.feed, row.state.value, iso_utc(row.started_at))


def _cells(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    return [(name, *map(_cell, values)) for name, values in zip(frame.index, frame.to_numpy(), strict=True)]


def _cell(value: Any) -> Any:
    return format_ratio(value) if isinstance(value, float) else value


def _difference(one: Any, other: Any) -> Any:
    if isinstance(one, str) or isinstance(other, str):
        return "the same" if one == other else "another"
    return None if one is None or other is None else other - one
