"""Strategies for the benchmarks: the built-in ones through their tick API, and one that burns CPU time."""

from __future__ import annotations

import time

from hybrid_platform.domain.orders import Signal
from hybrid_platform.domain.ticks import Tick
from hybrid_platform.strategies import Strategy
from hybrid_platform.strategies.periodic import Periodic
from hybrid_platform.strategies.sma_crossover import SmaCrossover

BURN_SECONDS = 0.001


class PeriodicTicks(Periodic):
    """`periodic` through its tick API."""

    on_batch = Strategy.on_batch  # type: ignore[assignment]


class SmaTicks(SmaCrossover):
    """`sma_crossover` through its tick API."""

    on_batch = Strategy.on_batch  # type: ignore[assignment]


class Burning(PeriodicTicks):
    """`periodic` with a millisecond of work at every tick of one symbol."""

    def on_tick(self, tick: Tick) -> Signal | None:
        if tick.symbol == "BURN/USD":
            until = time.thread_time() + BURN_SECONDS
            while time.thread_time() < until:
                pass
        return super().on_tick(tick)
