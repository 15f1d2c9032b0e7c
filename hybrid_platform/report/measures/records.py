"""Records of `measures.json`: the trading of one session in figures, in USD at the session's stated rates.

Figures from fills alone are exact (canonical text); figures that need prices over time are floats. None means
not defined for this session: it had no fill, no loss, a single return …
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

MEASURES = "measures"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Profit and loss, from fills and the last prices; exact."""

    starting_cash: Decimal
    realised: Decimal
    """Of closed positions, before fees."""
    unrealised: Decimal
    """Of open positions, at the last prices."""
    fees: Decimal
    pnl: Decimal
    """realised + unrealised − fees = final equity − starting cash."""
    final_equity: Decimal
    return_percent: float | None
    """pnl ÷ starting cash."""
    volume: Decimal
    """Σ |fill| × price × multiplier, of buys and sells."""
    turnover: float | None
    """volume ÷ starting cash."""


class Drawdown(msgspec.Struct, frozen=True, kw_only=True):
    """The largest fall of equity below its peak, over every valued tick."""

    usd: float
    percent: float | None
    """Of the peak."""
    peak_at: int
    """Session clock, ns."""
    trough_at: int
    recovered_at: int | None
    """None: not recovered before the end."""
    length_s: float
    """From the peak to the recovery, or to the end."""
    longest_s: float
    """The longest time below a peak, of any depth."""


class Risk(msgspec.Struct, frozen=True, kw_only=True):
    """Risk-adjusted return, over equal steps of the session clock."""

    step_s: float
    steps: int
    per_year: float
    """Steps in a year of 365 days; figures are annualised by calendar time."""
    volatility: float | None
    """Annualised, as a share."""
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    drawdown: Drawdown | None


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """Σ |position| × price, over the session clock."""

    mean: float
    """Weighted by time."""
    max: float = msgspec.field(name="most")
    final: Decimal
    in_market_percent: float
    """Share of the time with a position."""


class RoundTrips(msgspec.Struct, frozen=True, kw_only=True):
    """Completed round trips; PnL after fees."""

    count: int
    wins: int
    losses: int
    win_rate: float | None
    profit_factor: float | None
    """Σ gains ÷ Σ losses; None without a loss."""
    expectancy: float | None
    """Mean PnL of a round trip."""
    mean_win: float | None
    mean_loss: float | None
    best: float | None
    worst: float | None
    median_s: float | None
    """Median duration of a round trip."""
    open: int
    """Open positions at the end."""


class Quantiles(msgspec.Struct, frozen=True):
    """Count, mean, quantiles and maximum of a set of values."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    max: float = msgspec.field(name="most")


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Execution costs against the arrival price: the last price when an order was decided."""

    slippage_bps: float | None
    """Of all fills, weighted by their value at arrival; above zero is worse than arrival."""
    slippage_usd: float
    each_bps: Quantiles | None
    """Fill by fill, unweighted."""
    fees_bps: float | None
    """Of the volume."""
    shortfall_usd: float
    """Implementation shortfall: slippage + fees + the amount missed by unfilled quantity until its order ended."""
    shortfall_bps: float | None
    """Of the ordered value at arrival."""
    missed_usd: float
    """The part of the shortfall due to unfilled quantity."""
    filled_percent: float | None
    """Filled value ÷ ordered value."""
    without_arrival: int
    """Excluded fills: their order has no arrival price, because its tick was not persisted."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Latency on the session clock, in ms: that of the configured model, not the speed of this machine."""

    signal_to_order: Quantiles | None
    order_to_accepted: Quantiles | None
    order_to_first_fill: Quantiles | None
    order_to_last_fill: Quantiles | None
    """Of completely filled orders."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Number of signals, orders, fills, vetoes and rejects."""

    signals: int
    orders: int
    fills: int
    vetoes: dict[str, int]
    """By reason."""
    rejects: dict[str, int]
    """By the venue, by reason."""
    ends: dict[str, int]
    """Orders by their last status."""


class InstrumentLine(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one instrument in its quote currency; exact."""

    venue: str
    symbol: str
    quote: str
    fills: int
    net: Decimal
    average_price: Decimal | None
    last_price: Decimal
    realised: Decimal
    unrealised: Decimal
    fees: Decimal
    price_increment: Decimal | None
    is_inferred: bool
    """Whether the increment was inferred from the recorded prices, not configured; it rejected no order."""


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """All measures of one session."""

    schema: int = 1
    kind: str = MEASURES
    session_id: str
    mode: str
    sampling: str
    """Which ticks were valued, as a sentence."""
    result: Result
    risk: Risk
    exposure: Exposure | None
    round_trips: RoundTrips = msgspec.field(name="trips")
    cost: Cost
    latency: Latency
    counts: Counts
    instruments: tuple[InstrumentLine, ...]
