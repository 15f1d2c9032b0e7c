"""Strategies decide: ticks in, signals out, nothing else. Write your own by subclassing `Strategy`."""

from hybrid_platform.domain.orders import Signal, buy, sell
from hybrid_platform.domain.ticks import Tick, TickBatch
from hybrid_platform.strategies.base import Params, Strategy

__all__ = ["Params", "Signal", "Strategy", "Tick", "TickBatch", "buy", "sell"]
