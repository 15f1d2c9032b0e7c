"""What executing the decisions cost: slippage against arrival, implementation shortfall, latency.

Arrival price: the last price when the order was decided. A side is +1 for a BUY and −1 for a SELL, so
every figure is above zero where it is worse than arrival.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hybrid_platform.report.measures.records import Cost, Quantiles

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
BPS = 10_000.0


class Fills(NamedTuple):
    """Fills that have an arrival price, as columns."""

    order: Int64s
    """Place of the order among `Orders`."""
    side: Floats
    value: Floats
    """qty × price × multiplier, USD."""
    at_arrival: Floats
    """The same at the order's arrival price."""


class Orders(NamedTuple):
    """All orders that have an arrival price, as columns; money in USD."""

    side: Floats
    meant: Floats
    """Quantity ordered, at arrival."""
    left_at_arrival: Floats
    """What was never filled, at arrival."""
    left_at_end: Floats
    """The same at the last price when the order ended."""


def quantiles_of(values: Floats) -> Quantiles | None:
    """Return p50, p95, p99 (the nearest value at or below), mean and maximum; None where there is none."""
    if not len(values):
        return None
    ordered = np.sort(values)
    p50, p95, p99 = (float(ordered[int((len(ordered) - 1) * share)]) for share in (0.5, 0.95, 0.99))
    return Quantiles(len(ordered), float(ordered.mean()), p50, p95, p99, float(ordered[-1]))


def cost_of(fills: Fills, orders: Orders, fees: float, volume: float, without_arrival: int) -> Cost:
    """Return what it cost (Perold 1988); ``fees`` and ``volume`` of all fills, USD.

    slippage = Σ side × (fill − arrival) × quantity; missed = Σ side × (price at the order's end − arrival) ×
    quantity left; shortfall = slippage + missed + fees.
    """
    slipped = fills.side * (fills.value - fills.at_arrival)
    missed = orders.side * (orders.left_at_end - orders.left_at_arrival)
    at_arrival, meant = float(fills.at_arrival.sum()), float(orders.meant.sum())
    slippage, lost = float(slipped.sum()), float(missed.sum())
    shortfall = slippage + lost + fees
    return Cost(
        slippage_bps=slippage / at_arrival * BPS if at_arrival else None,
        slippage_usd=slippage,
        each_bps=quantiles_of(slipped / fills.at_arrival * BPS),
        fees_bps=fees / volume * BPS if volume else None,
        shortfall_usd=shortfall,
        shortfall_bps=shortfall / meant * BPS if meant else None,
        missed_usd=lost,
        filled_percent=at_arrival / meant * 100 if meant else None,
        without_arrival=without_arrival,
    )
