"""`measures.json`: one session's trading in figures. Money is in USD at the session's stated rates.

What follows from fills alone is exact, as canonical text; what needs a price of every moment is a float.
None: not defined for this session (no fill, no loss, one return …), which the report shows as such.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

MEASURES = "measures"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Profit and loss, from fills and the last prices; exact."""

    starting_cash: Decimal
    realised: Decimal
    """Of what was closed, before fees."""
    unrealised: Decimal
    """Of what is open, at the last prices."""
    fees: Decimal
    pnl: Decimal
    """realised + unrealised − fees = final equity − starting cash."""
    final_equity: Decimal
    return_percent: float | None
    """pnl ÷ starting cash."""
    volume: Decimal
    """Σ |fill| × price × multiplier: what was bought and sold."""
    turnover: float | None
    """volume ÷ starting cash."""


class Drawdown(msgspec.Struct, frozen=True, kw_only=True):
    """The largest fall of equity below its peak, over every tick that was valued."""

    usd: float
    percent: float | None
    """Of the peak."""
    peak_at: int
    """Session clock, ns."""
    trough_at: int
    recovered_at: int | None
    """None: not before the end."""
    length_s: float
    """From the peak to the recovery, or to the end."""
    longest_s: float
    """The longest time below a peak, of any depth."""


class Risk(msgspec.Struct, frozen=True, kw_only=True):
    """Return against its variation, over equal steps of the session clock."""

    step_s: float
    steps: int
    per_year: float
    """Steps in a year of 365 days: what is annualised is, by calendar time."""
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
    most: float
    final: Decimal
    in_market_percent: float
    """Share of the time with a position."""


class Trips(msgspec.Struct, frozen=True, kw_only=True):
    """Round trips: from flat to flat, or to the other side; PnL after fees."""

    count: int
    wins: int
    losses: int
    win_rate: float | None
    profit_factor: float | None
    """Σ gains ÷ Σ losses; None where nothing was lost."""
    expectancy: float | None
    """Mean PnL of a round trip."""
    mean_win: float | None
    mean_loss: float | None
    best: float | None
    worst: float | None
    median_s: float | None
    """How long a round trip took."""
    open: int
    """Positions that were open at the end."""


class Quantiles(msgspec.Struct, frozen=True):
    """Of many values."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    most: float


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What trading cost against the price at which each order was decided (arrival price)."""

    slippage_bps: float | None
    """Of all fills, weighted by their value at arrival; above zero is worse than arrival."""
    slippage_usd: float
    each_bps: Quantiles | None
    """Fill by fill, unweighted."""
    fees_bps: float | None
    """Of the volume."""
    shortfall_usd: float
    """Implementation shortfall: slippage + fees + what the unfilled part missed until its order ended."""
    shortfall_bps: float | None
    """Of the value that the orders meant, at arrival."""
    missed_usd: float
    """The unfilled part's share of it."""
    filled_percent: float | None
    """Filled value ÷ meant value."""
    without_arrival: int
    """Fills whose order has no arrival price, because that tick was not persisted; left out."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of the session clock: what the stated model made of latency, not this machine's speed."""

    signal_to_order: Quantiles | None
    order_to_accepted: Quantiles | None
    order_to_first_fill: Quantiles | None
    order_to_last_fill: Quantiles | None
    """Of orders that were filled whole."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many of each."""

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
    """One instrument's part, in its quote currency; exact."""

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
    """The increment follows from the prices that came; nobody stated it, and it denied no order."""


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    schema: int = 1
    kind: str = MEASURES
    session_id: str
    mode: str
    sampling: str
    """Which ticks were valued."""
    result: Result
    risk: Risk
    exposure: Exposure | None
    trips: Trips
    cost: Cost
    latency: Latency
    counts: Counts
    instruments: tuple[InstrumentLine, ...]
