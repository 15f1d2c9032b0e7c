"""Settings of strategy, risk engine, and execution models (I2, S7)."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field

from hybrid_platform.settings.base import Exact, Section, Symbol
from hybrid_platform.settings.instruments import SignedBps


class StrategySettings(Section):
    """Which strategy, and its parameters (each strategy validates its own)."""

    name: Annotated[str, Field(min_length=1, max_length=200)] = "periodic"
    """A built-in or installed name, or an import path ``package.module:Class``."""
    params: dict[str, Any] = Field(default_factory=dict)


Bps = Annotated[Exact, Field(ge=0, lt=10_000, decimal_places=8)]
"""Basis points, 1/10,000. Decimal places are bounded so that money stays exact however it is multiplied."""


class RiskSettings(Section):
    """Caps in USD, pending orders included (I2), the age beyond which data is stale (S7), and limits that start off."""

    max_exposure_usd: Annotated[Exact, Field(ge=0)] = Decimal(10_000)
    max_symbol_exposure_usd: Annotated[Exact, Field(ge=0)] = Decimal(5_000)
    max_open_orders: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    max_staleness_ms: Annotated[int, Field(ge=0, le=10**12)] = 2_000
    """Event to receipt, or receipt to decision."""
    usd_rates: dict[Symbol, Annotated[Exact, Field(gt=0, lt=1e9, decimal_places=18)]] = Field(
        default_factory=lambda: {"USD": Decimal(1), "USDC": Decimal(1), "USDT": Decimal(1)}
    )
    """USD for one unit of a quote currency; an unknown quote is vetoed."""
    price_collar_bps: Bps | None = None
    """How far a limit price may be from the last price; also the margin in exposures where it exceeds the slippage."""
    max_order_notional_usd: Annotated[Exact, Field(ge=0)] | None = None
    max_orders_per_second: Annotated[Exact, Field(gt=0, le=1_000_000)] | None = None
    """A token bucket on the session clock …"""
    order_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """… that holds so many orders when full."""
    max_daily_loss_usd: Annotated[Exact, Field(gt=0)] | None = None
    """Loss since midnight UTC (or the last resume), open positions marked; beyond it trading halts."""
    max_drawdown_usd: Annotated[Exact, Field(gt=0)] | None = None
    """Equity below its peak (since the last resume); beyond it trading halts."""
    halt_after_vetoes: Annotated[int, Field(ge=1)] | None = None
    """So many vetoes in a row halt trading."""
    halt_after_rejects: Annotated[int, Field(ge=1)] | None = None
    """So many rejects by the venue in a row halt trading."""


class ExecutionSettings(Section):
    """The shadow adapter's stated model: a fill at the last seen price, worsened and charged."""

    slippage_bps: Bps = Decimal(10)
    fee_bps: Bps = Decimal(10)
    starting_cash_usd: Annotated[Exact, Field(ge=0, lt=1e15, decimal_places=8)] = Decimal(10_000)
    """What the account begins with: returns and drawdowns in percent are measured against it."""


class PaperSettings(Section):
    """The simulated venue of mode PAPER; null takes what the preset or the execution settings say."""

    latency: Literal["none", "colocated", "cloud", "home"] = "cloud"
    """A named preset of the three delays and their jitter; see docs/trading.md."""
    submit_ms: Annotated[Exact, Field(ge=0, le=60_000)] | None = None
    """An order's way to the venue."""
    cancel_ms: Annotated[Exact, Field(ge=0, le=60_000)] | None = None
    """A cancel's way to the venue."""
    report_ms: Annotated[Exact, Field(ge=0, le=60_000)] | None = None
    """A report's way back."""
    jitter: Annotated[Exact, Field(ge=0, le=10)] | None = None
    """Each delay is drawn between itself and itself × (1 + jitter)."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 7
    slippage_bps: Bps | None = None
    """What a taking fill is worse than the print it takes."""
    participation: Annotated[Exact, Field(gt=0, le=1, decimal_places=8)] = Decimal("0.1")
    """The share of a print's size that an order may take."""
    limit_fills: Literal["through", "at"] = "through"
    """Resting orders fill when the market trades through their price, or also at it, behind a queue."""
    queue_prints: Annotated[Exact, Field(ge=0, le=1_000_000, decimal_places=8)] = Decimal(10)
    """For ``at``: what stands before a resting order, in mean print sizes of the instrument so far."""
    maker_fee_bps: SignedBps | None = None
    """Below zero is a rebate; null: ``execution.fee_bps``, as for takers."""
    reject_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share of orders that the venue rejects for no reason of ours."""
