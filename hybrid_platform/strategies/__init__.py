"""Strategies: ticks in, signals out, nothing else. Write your own by subclassing `Strategy`.

This module exports all that a strategy needs; see docs/strategies.md.
"""

from pydantic import Field

from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import OrderType, Side, Signal, TimeInForce, buy, sell
from hybrid_platform.domain.ticks import Tick, TickBatch
from hybrid_platform.settings.base import Exact
from hybrid_platform.strategies.base import Params, Strategy

__all__ = [
    "Exact",
    "Field",
    "Instrument",
    "OrderType",
    "Params",
    "Side",
    "Signal",
    "Strategy",
    "Tick",
    "TickBatch",
    "TimeInForce",
    "buy",
    "sell",
]
