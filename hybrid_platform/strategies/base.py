"""The plug-in interface of strategies: their parameters, inputs and outputs (S8).

A strategy is pure: the same ticks give the same signals. It keeps its state per instrument, reads no
clock but the ticks', and does no I/O; under ``isolation: process`` the kernel enforces this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import length_hint
from typing import ClassVar, Generic, TypeVar

from hybrid_platform.domain.orders import Signal
from hybrid_platform.domain.ticks import Tick, TickBatch
from hybrid_platform.settings.base import Section


class Params(Section):
    """Base class of a strategy's parameters: typed, frozen, no unknown names."""


ParamsT = TypeVar("ParamsT", bound=Params)


class Strategy(Generic[ParamsT]):
    """Base class of all strategies. Override `on_tick`; for speed also `on_batch`, with the same signals."""

    Params: ClassVar[type[Params]] = Params
    """The class of the parameters, which are validated before the session starts."""

    timer_seconds: ClassVar[float | None] = None
    """Interval of `on_timer` calls, by the session clock; None: no calls."""

    _remaining: Iterator[int] = iter(())

    def __init__(self, params: ParamsT) -> None:
        self.params = params

    def on_tick(self, tick: Tick) -> Signal | Iterable[Signal] | None:
        """Process one tick; return one signal, several, or None (see `buy` and `sell`)."""
        raise NotImplementedError(f"{type(self).__name__} must define on_tick")

    def on_batch(self, batch: TickBatch) -> Iterable[Signal]:
        """Process many ticks at once; return signals in order of their ``seq``.

        The default calls `on_tick` for each tick and yields its signals, so that those before a tick at which
        it fails are kept. An override must give identical signals, however the ticks are cut into batches.
        """
        on_tick = self.on_tick
        self._remaining = numbers = iter(batch.seq.tolist())
        for tick in batch.ticks(numbers):
            try:
                signals = on_tick(tick)
            except BaseException as error:
                error.add_note(f"tick {tick.seq}")
                raise
            if signals is None:
                continue
            if isinstance(signals, Signal):
                yield signals
            else:
                yield from signals

    @property
    def ticks_remaining(self) -> int:
        """Ticks of the current batch not yet passed to `on_tick`; shows the watchdog that it makes progress."""
        return length_hint(self._remaining)

    def on_timer(self, now: int) -> Signal | Iterable[Signal] | None:
        """Process a timer: the session clock, ``now`` (ns), passed a multiple of `timer_seconds`."""
        return None
