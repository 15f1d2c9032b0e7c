"""What one stage hands to the next."""

from __future__ import annotations

from typing import NamedTuple

from hybrid_platform.domain.orders import InputRecord, Signal
from hybrid_platform.domain.ticks import TickBatch


class Step(NamedTuple):
    """Strategy -> execution: the ticks that were looked at, and what the strategy wanted at them.

    Execution needs the ticks for its marks and its fills; only signals count as events.
    """

    ticks: TickBatch
    signals: tuple[Signal, ...]
    inputs: tuple[InputRecord, ...] = ()
    """Journal entries the strategy stage made before these ticks (holes, timers), in order, with ``n`` 0."""
    timer: int | None = None
    """A timer's instant: the session clock moves there, after the (then empty) ticks."""
