"""Trading of a session for its report: ``measures.json`` and the figures as files, and tables for the pages.

in: a finished session in the database · out: files in its evidence directory, which the report links to and the
bundle seals. Trading that cannot be measured is left out of the report, and does not fail the session.
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
from hybrid_platform.report.measures.records import MEASURES, Latency, Measures, Quantiles
from hybrid_platform.report.measures.session import measure_session
from hybrid_platform.report.plots import PLOTS, draw_session
from hybrid_platform.security.paths import DataDir

FILE = f"{MEASURES}.json"
FOLDER = "plots"
FORECAST_S = 30 * 86_400
"""Annualised figures of a shorter session are marked as not being a forecast."""


def write_trading(data_dir: DataDir, engine: sa.Engine, session_id: str) -> Measures:
    """Measure a session, and write its measures and figures into its evidence directory.

    Raises ConfigError for an unknown session, and StorageError for unreadable rows.
    """
    measured = measure_session(engine, session_id)
    folder = f"evidence/{session_id}"
    data_dir.write_atomic(f"{folder}/{FILE}", encode_record(measured.measures))
    for name, picture in draw_session(measured).items():
        data_dir.write_atomic(f"{folder}/{FOLDER}/{name}.svg", picture)
    return measured.measures


class Trading(NamedTuple):
    """The written measures and figures of a session."""

    measures: Measures
    plots: dict[str, bytes]
    """Path below the evidence directory -> figure."""


def read_trading(data_dir: DataDir, session_id: str) -> Trading | None:
    """Return the output of `write_trading`, or None without one; raise EvidenceError for an invalid file."""
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
    """Return the settings that define the trading model."""
    parts = ("risk", "execution", *(("paper",) if settings.get("mode") == "PAPER" else ()))
    return facts(*((f"{part}.{key}", value) for part in parts for key, value in settings.get(part, {}).items()))


_INSTRUMENT = (
    "instrument", "fills", "position", "average price", "last price", "realised", "unrealised", "fees", "increment",
)  # fmt: skip


def _result(found: Measures) -> Iterable[tuple[Any, ...]]:
    result = found.result
    yield (
        "PnL, after fees",
        f"{format_amount(result.pnl)} ({format_percent(result.return_percent)} of the starting cash)",
    )
    yield "realised, before fees", format_amount(result.realised)
    yield "unrealised, at the last prices", format_amount(result.unrealised)
    yield "fees", format_amount(result.fees)
    yield (
        "equity at the end",
        f"{format_amount(result.final_equity)} (began with {format_amount(result.starting_cash)})",
    )
    yield "volume", f"{format_amount(result.volume)} (turnover {format_ratio(result.turnover)} × the starting cash)"


def _risk(found: Measures) -> Iterable[tuple[Any, ...]]:
    risk = found.risk
    drawdown = risk.drawdown
    if drawdown is not None:
        recovered = "not recovered" if drawdown.recovered_at is None else f"recovered {iso_utc(drawdown.recovered_at)}"
        yield "maximum drawdown", f"{format_amount(drawdown.usd)} USD ({format_percent(drawdown.percent)} of the peak)"
        yield "its length", f"{format_duration(drawdown.length_s)}: peak {iso_utc(drawdown.peak_at)}, {recovered}"
        yield "longest time below a peak", format_duration(drawdown.longest_s)
    yearly = f"{risk.steps} returns over {risk.step_s:g} s, a year of {risk.per_year:,.0f} steps"
    caution = "; no forecast from so short a session" if risk.steps * risk.step_s < FORECAST_S else ""
    yield "Sharpe ratio, annualised", f"{format_ratio(risk.sharpe)} ({yearly}{caution})"
    yield "Sortino ratio, annualised", format_ratio(risk.sortino)
    yield "Calmar ratio", format_ratio(risk.calmar)
    yield "volatility, annualised", format_percent(None if risk.volatility is None else risk.volatility * 100)


def _exposure(found: Measures) -> Iterable[tuple[Any, ...]]:
    exposure = found.exposure
    if exposure is not None:
        yield "mean, weighted by time", f"{format_amount(exposure.mean)} USD"
        yield "most", f"{format_amount(exposure.max)} USD"
        yield "at the end", f"{format_amount(exposure.final)} USD"
        yield "time with a position", format_percent(exposure.in_market_percent)


def _trips(found: Measures) -> Iterable[tuple[Any, ...]]:
    trips = found.round_trips
    yield "ended, and open at the end", f"{trips.count:,}, and {trips.open:,}"
    if trips.count:
        rate = None if trips.win_rate is None else trips.win_rate * 100
        yield "win rate", f"{format_percent(rate)} ({trips.wins:,} won, {trips.losses:,} lost)"
        yield "profit factor", format_ratio(trips.profit_factor)
        yield "expectancy", f"{format_amount(trips.expectancy)} USD"
        yield "mean win, mean loss", f"{format_amount(trips.mean_win)}, {format_amount(trips.mean_loss)} USD"
        yield "best, worst", f"{format_amount(trips.best)}, {format_amount(trips.worst)} USD"
        yield "median duration", format_duration(trips.median_s)


def _cost(found: Measures) -> Iterable[tuple[Any, ...]]:
    cost = found.cost
    each = cost.each_bps
    yield "slippage against arrival", f"{format_ratio(cost.slippage_bps)} bps, {format_amount(cost.slippage_usd)} USD"
    if each is not None:
        yield (
            "fill by fill, bps",
            f"p50 {format_ratio(each.p50)}, p95 {format_ratio(each.p95)}, most {format_ratio(each.max)}",
        )
    yield "fees", f"{format_ratio(cost.fees_bps)} bps"
    yield "implementation shortfall", f"{format_ratio(cost.shortfall_bps)} bps, {format_amount(cost.shortfall_usd)} USD"
    yield "of which missed by what was not filled", f"{format_amount(cost.missed_usd)} USD"
    yield "filled, of what was ordered", format_percent(cost.filled_percent)
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
            yield name, of.count, format_ratio(of.p50), format_ratio(of.p95), format_ratio(of.p99), format_ratio(of.max)


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
            format_amount(line.average_price),
            canonical(line.last_price),
            format_amount(line.realised),
            format_amount(line.unrealised),
            format_amount(line.fees),
            f"{step} (inferred from the prices; it denied no order)" if line.is_inferred else step,
        )


def format_amount(value: Any) -> str:
    """Format an amount: two decimals, or four significant digits if it is small; the record has it exactly."""
    if value is None:
        return "–"
    shown = float(value)
    return f"{shown:,.2f}" if abs(shown) >= 1 or not shown else f"{shown:.4g}"


def format_ratio(value: float | None) -> str:
    """Format a ratio."""
    return "–" if value is None else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def format_percent(value: float | None) -> str:
    """Format a percentage."""
    return "–" if value is None else f"{format_ratio(value)} %"


def format_duration(value: float | None) -> str:
    """Format a duration in seconds."""
    if value is None:
        return "–"
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if value >= 2 * length:
            return f"{value / length:,.1f} {unit}"
    return f"{value:,.3g} s"
