"""Settings of strategy, risk engine, and execution models (I2, S7)."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field

from hybrid_platform.settings.base import Exact, Section, Symbol
from hybrid_platform.settings.instruments import SignedBps


class StrategySettings(Section):
    """The strategy and its parameters, which the strategy validates."""

    name: Annotated[str, Field(min_length=1, max_length=200)] = "periodic"
    """The name of a built-in or installed strategy, or an import path ``package.module:Class``."""
    params: dict[str, Any] = Field(default_factory=dict)


Bps = Annotated[Exact, Field(ge=0, lt=10_000, decimal_places=8)]
"""Basis points, 1/10,000. Decimal places are bounded so that money stays exact in every multiplication."""


class RiskSettings(Section):
    """Caps in USD including pending orders (I2), the age at which data is stale (S7), and optional limits."""

    max_exposure_usd: Annotated[Exact, Field(ge=0)] = Decimal(10_000)
    max_symbol_exposure_usd: Annotated[Exact, Field(ge=0)] = Decimal(5_000)
    max_open_orders: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    max_staleness_ms: Annotated[int, Field(ge=0, le=10**12)] = 2_000
    """Event to receipt, or receipt to decision."""
    usd_rates: dict[Symbol, Annotated[Exact, Field(gt=0, lt=1e9, decimal_places=18)]] = Field(
        default_factory=lambda: {"USD": Decimal(1), "USDC": Decimal(1), "USDT": Decimal(1)}
    )
    """USD per unit of a quote currency; signals in other currencies are vetoed."""
    price_collar_bps: Bps | None = None
    """Largest distance of a limit price from the last price; the margin in exposures if it exceeds the slippage."""
    max_order_notional_usd: Annotated[Exact, Field(ge=0)] | None = None
    max_orders_per_second: Annotated[Exact, Field(gt=0, le=1_000_000)] | None = None
    """Rate of a token bucket on the session clock …"""
    order_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """… and its capacity in orders."""
    max_daily_loss_usd: Annotated[Exact, Field(gt=0)] | None = None
    """Loss since midnight UTC or the last resume, with open positions valued, at which trading halts."""
    max_drawdown_usd: Annotated[Exact, Field(gt=0)] | None = None
    """Fall of equity below its peak since the last resume at which trading halts."""
    halt_after_vetoes: Annotated[int, Field(ge=1)] | None = None
    """Number of consecutive vetoes that halts trading."""
    halt_after_rejects: Annotated[int, Field(ge=1)] | None = None
    """Number of consecutive rejects by the venue that halts trading."""


class ExecutionSettings(Section):
    """Model of the shadow adapter: a fill at the last price, with slippage and fees."""

    slippage_bps: Bps = Decimal(10)
    fee_bps: Bps = Decimal(10)
    starting_cash_usd: Annotated[Exact, Field(ge=0, lt=1e15, decimal_places=8)] = Decimal(10_000)
    """Initial cash of the account; returns and drawdowns in percent refer to it."""


class PaperSettings(Section):
    """The simulated venue of mode PAPER; null takes the value of the preset or of the execution settings."""

    latency: Literal["none", "colocated", "cloud", "home"] = "cloud"
    """Preset of the three delays and their jitter; see docs/trading.md."""
    submit_ms: Annotated[Exact, Field(ge=0, le=60_000)] | None = None
    """Delay of an order on its way to the venue."""
    cancel_ms: Annotated[Exact, Field(ge=0, le=60_000)] | None = None
    """Delay of a cancel on its way to the venue."""
    report_ms: Annotated[Exact, Field(ge=0, le=60_000)] | None = None
    """Delay of a report on its way back."""
    jitter: Annotated[Exact, Field(ge=0, le=10)] | None = None
    """Each delay is drawn uniformly between its value and its value × (1 + jitter)."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 7
    slippage_bps: Bps | None = None
    """Slippage of a taking fill against the trade print that it takes."""
    participation: Annotated[Exact, Field(gt=0, le=1, decimal_places=8)] = Decimal("0.1")
    """Share of a trade print's size that our orders may take."""
    limit_fills: Literal["through", "at"] = "through"
    """Resting orders fill when the market trades through their price, or also at it, after the queue ahead."""
    queue_prints: Annotated[Exact, Field(ge=0, le=1_000_000, decimal_places=8)] = Decimal(10)
    """For ``at``: the queue ahead of a resting order, in mean trade sizes of the instrument so far."""
    maker_fee_bps: SignedBps | None = None
    """Negative for a rebate; null: ``execution.fee_bps``, as for takers."""
    reject_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of orders that the venue rejects at random."""
