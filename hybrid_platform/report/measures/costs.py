"""Execution costs: slippage against arrival, and implementation shortfall.

The arrival price is the last price at the time of the decision. A side is +1 for a BUY and −1 for a SELL, so
a figure above zero is worse than arrival.
"""

from __future__ import annotations

from hybrid_platform.report.measures.records import Cost
from hybrid_platform.report.measures.sample import Sample

BPS = 10_000.0


class CostTally:
    """Running sums, in USD, over orders, fills and unfilled quantities, and one sample."""

    def __init__(self) -> None:
        self._each_bps = Sample()
        self._slipped = self._at_arrival = self._meant = self._missed = 0.0
        self._without_arrival = 0

    def add_order(self, meant: float) -> None:
        """Add the value of an order at its arrival price."""
        self._meant += meant

    def add_fill(self, side: int, value: float, at_arrival: float) -> None:
        """Add a fill: qty × price × multiplier, and the same at the arrival price of its order."""
        slipped = side * (value - at_arrival)
        self._slipped += slipped
        self._at_arrival += at_arrival
        self._each_bps.add(slipped / at_arrival * BPS)

    def add_fill_without_arrival(self) -> None:
        """Count a fill that cannot be compared with an arrival price."""
        self._without_arrival += 1

    def add_unfilled(self, side: int, at_arrival: float, at_end: float) -> None:
        """Add the unfilled part of an order: at its arrival price, and at the last price when it ended."""
        self._missed += side * (at_end - at_arrival)

    def summarize(self, fees: float, volume: float) -> Cost:
        """Return the costs (Perold 1988); ``fees`` and ``volume`` are those of all fills, in USD.

        slippage = Σ side × (fill − arrival) × quantity; missed = Σ side × (price at the order's end − arrival) ×
        quantity left; shortfall = slippage + missed + fees.
        """
        at_arrival, meant, slippage = self._at_arrival, self._meant, self._slipped
        shortfall = slippage + self._missed + fees
        return Cost(
            slippage_bps=slippage / at_arrival * BPS if at_arrival else None,
            slippage_usd=slippage,
            each_bps=self._each_bps.quantiles(),
            fees_bps=fees / volume * BPS if volume else None,
            shortfall_usd=shortfall,
            shortfall_bps=shortfall / meant * BPS if meant else None,
            missed_usd=self._missed,
            filled_percent=at_arrival / meant * 100 if meant else None,
            without_arrival=self._without_arrival,
        )
