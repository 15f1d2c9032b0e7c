"""A session's trading for its report: ``measures.json`` and the pictures, written once; tables for its pages.

in: a finished session in the database · out: files beside its evidence, which the report links to and the
bundle seals. What cannot be measured is said in the report, and fails nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from hybrid_platform.domain.clocks import iso_utc
from hybrid_platform.domain.decimals import canonical
from hybrid_platform.evidence.bundle import read_if_there
from hybrid_platform.evidence.files import encode_record, parse_json
from hybrid_platform.report.blocks import Table, facts
from hybrid_platform.report.figures import PLOTS, draw_session
from hybrid_platform.report.measures.records import MEASURES, Latency, Measures, Quantiles
from hybrid_platform.report.measures.session import measure_session
from hybrid_platform.security.paths import DataDir

FILE = f"{MEASURES}.json"
FOLDER = "plots"
FORECAST_S = 30 * 86_400
"""Below a month, what is annualised is said to be no forecast."""


def write_trading(data_dir: DataDir, engine: sa.Engine, session_id: str) -> Measures:
    """Measure a session, and write its figures and pictures beside its evidence.

    Raises ConfigError for a session that is not there, StorageError for rows that cannot be read.
    """
    measured = measure_session(engine, session_id)
    folder = f"evidence/{session_id}"
    data_dir.write_atomic(f"{folder}/{FILE}", encode_record(measured.measures))
    for name, picture in draw_session(measured).items():
        data_dir.write_atomic(f"{folder}/{FOLDER}/{name}.svg", picture)
    return measured.measures


class Trading(NamedTuple):
    """What was written."""

    measures: Measures
    plots: dict[str, bytes]
    """Path below the evidence directory -> picture."""


def read_trading(data_dir: DataDir, session_id: str) -> Trading | None:
    """Return what `write_trading` left, None where it left nothing; raise EvidenceError for a file that is none."""
    folder = f"evidence/{session_id}"
    content = read_if_there(data_dir, f"{folder}/{FILE}")
    if content is None:
        return None
    plots = {f"{FOLDER}/{name}.svg": read_if_there(data_dir, f"{folder}/{FOLDER}/{name}.svg") for name in PLOTS}
    return Trading(
        parse_json(content, FILE, Measures), {name: picture for name, picture in plots.items() if picture is not None}
    )


def trading_tables(found: Measures) -> list[Table]:
    """Return the tables of a session's trading."""
    latency_heads = ("", "count", "p50", "p95", "p99", "most")
    tables = [
        Table(("", "USD"), tuple(_result(found)), "Result"),
        facts(*_risk(found), title="Return against risk"),
        facts(*_exposure(found), title="Exposure"),
        facts(*_trips(found), title="Round trips"),
        facts(*_cost(found), title="Cost of trading"),
        Table(latency_heads, tuple(_latency(found)), "Latency of the session clock, ms"),
        Table(("", "count"), tuple(_counts(found)), "Signals, orders, fills"),
        Table(_INSTRUMENT, tuple(_instruments(found)), "Instruments"),
    ]
    return [each for each in tables if each.rows]


def assumption_table(settings: Mapping[str, Any]) -> Table:
    """Return the settings that the trading model rests on."""
    parts = ("risk", "execution", *(("paper",) if settings.get("mode") == "PAPER" else ()))
    return facts(*((f"{part}.{key}", value) for part in parts for key, value in settings.get(part, {}).items()))


_INSTRUMENT = (
    "instrument", "fills", "position", "average price", "last price", "realised", "unrealised", "fees", "increment",
)  # fmt: skip


def _result(found: Measures) -> Iterable[tuple[Any, ...]]:
    result = found.result
    yield "PnL, after fees", f"{money(result.pnl)} ({percent(result.return_percent)} of the starting cash)"
    yield "realised, before fees", money(result.realised)
    yield "unrealised, at the last prices", money(result.unrealised)
    yield "fees", money(result.fees)
    yield "equity at the end", f"{money(result.final_equity)} (began with {money(result.starting_cash)})"
    yield "volume", f"{money(result.volume)} (turnover {number(result.turnover)} × the starting cash)"


def _risk(found: Measures) -> Iterable[tuple[Any, ...]]:
    risk = found.risk
    fall = risk.drawdown
    if fall is not None:
        recovered = "not recovered" if fall.recovered_at is None else f"recovered {iso_utc(fall.recovered_at)}"
        yield "maximum drawdown", f"{money(fall.usd)} USD ({percent(fall.percent)} of the peak)"
        yield "its length", f"{seconds(fall.length_s)}: peak {iso_utc(fall.peak_at)}, {recovered}"
        yield "longest time below a peak", seconds(fall.longest_s)
    yearly = f"{risk.steps} returns over {risk.step_s:g} s, a year of {risk.per_year:,.0f} steps"
    caution = "; no forecast from so short a session" if risk.steps * risk.step_s < FORECAST_S else ""
    yield "Sharpe ratio, annualised", f"{number(risk.sharpe)} ({yearly}{caution})"
    yield "Sortino ratio, annualised", number(risk.sortino)
    yield "Calmar ratio", number(risk.calmar)
    yield "volatility, annualised", percent(None if risk.volatility is None else risk.volatility * 100)


def _exposure(found: Measures) -> Iterable[tuple[Any, ...]]:
    exposure = found.exposure
    if exposure is not None:
        yield "mean, weighted by time", f"{money(exposure.mean)} USD"
        yield "most", f"{money(exposure.max)} USD"
        yield "at the end", f"{money(exposure.final)} USD"
        yield "time with a position", percent(exposure.in_market_percent)


def _trips(found: Measures) -> Iterable[tuple[Any, ...]]:
    trips = found.round_trips
    yield "ended, and open at the end", f"{trips.count:,}, and {trips.open:,}"
    if trips.count:
        rate = None if trips.win_rate is None else trips.win_rate * 100
        yield "win rate", f"{percent(rate)} ({trips.wins:,} won, {trips.losses:,} lost)"
        yield "profit factor", number(trips.profit_factor)
        yield "expectancy", f"{money(trips.expectancy)} USD"
        yield "mean win, mean loss", f"{money(trips.mean_win)}, {money(trips.mean_loss)} USD"
        yield "best, worst", f"{money(trips.best)}, {money(trips.worst)} USD"
        yield "median duration", seconds(trips.median_s)


def _cost(found: Measures) -> Iterable[tuple[Any, ...]]:
    cost = found.cost
    each = cost.each_bps
    yield "slippage against arrival", f"{number(cost.slippage_bps)} bps, {money(cost.slippage_usd)} USD"
    if each is not None:
        yield "fill by fill, bps", f"p50 {number(each.p50)}, p95 {number(each.p95)}, most {number(each.max)}"
    yield "fees", f"{number(cost.fees_bps)} bps"
    yield "implementation shortfall", f"{number(cost.shortfall_bps)} bps, {money(cost.shortfall_usd)} USD"
    yield "of which missed by what was not filled", f"{money(cost.missed_usd)} USD"
    yield "filled, of what was ordered", percent(cost.filled_percent)
    if cost.without_arrival:
        yield "fills without an arrival price, left out", cost.without_arrival


def _latency(found: Measures) -> Iterable[tuple[Any, ...]]:
    names: dict[str, str] = {
        "signal_to_order": "signal → order",
        "order_to_accepted": "order → accepted",
        "order_to_first_fill": "order → first fill",
        "order_to_last_fill": "order → filled whole",
    }
    for field, name in names.items():
        of = _quantiles(found.latency, field)
        if of is not None:
            yield name, of.count, number(of.p50), number(of.p95), number(of.p99), number(of.max)


def _quantiles(latency: Latency, field: str) -> Quantiles | None:
    found: Quantiles | None = getattr(latency, field)
    return found


def _counts(found: Measures) -> Iterable[tuple[Any, ...]]:
    counts = found.counts
    yield from (("signals", counts.signals), ("orders", counts.orders), ("fills", counts.fills))
    for name, group in (("vetoed", counts.vetoes), ("rejected by the venue", counts.rejects), ("ended", counts.ends)):
        yield from ((f"{name}: {reason}", count) for reason, count in group.items())


def _instruments(found: Measures) -> Iterable[tuple[Any, ...]]:
    for line in found.instruments:
        step = "–" if line.price_increment is None else canonical(line.price_increment)
        yield (
            f"{line.venue}:{line.symbol} ({line.quote})",
            line.fills,
            canonical(line.net),
            money(line.average_price),
            canonical(line.last_price),
            money(line.realised),
            money(line.unrealised),
            money(line.fees),
            f"{step} (inferred from the prices; it denied no order)" if line.is_inferred else step,
        )


def money(value: Any) -> str:
    """Return an amount to read: two decimals, more where it is small; the record has it exact."""
    if value is None:
        return "–"
    shown = float(value)
    return f"{shown:,.2f}" if abs(shown) >= 1 or not shown else f"{shown:.4g}"


def number(value: float | None) -> str:
    """Return a ratio to read."""
    return "–" if value is None else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def percent(value: float | None) -> str:
    """Return a percentage to read."""
    return "–" if value is None else f"{number(value)} %"


def seconds(value: float | None) -> str:
    """Return a duration to read."""
    if value is None:
        return "–"
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if value >= 2 * length:
            return f"{value / length:,.1f} {unit}"
    return f"{value:,.3g} s"
