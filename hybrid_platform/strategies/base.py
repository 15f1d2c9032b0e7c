"""The plug-in interface: what a strategy is given, and what it may answer.

A strategy is pure: the same ticks give the same signals (S8). It keeps its state per instrument,
reads no clock but the ticks', does no I/O, and under ``isolation: process`` the kernel sees to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import length_hint
from typing import ClassVar, Generic, TypeVar

from hybrid_platform.domain.orders import Signal
from hybrid_platform.domain.ticks import Tick, TickBatch
from hybrid_platform.settings.base import Section


class Params(Section):
    """Base of a strategy's parameters: typed, frozen, no unknown names."""


ParamsT = TypeVar("ParamsT", bound=Params)


class Strategy(Generic[ParamsT]):
    """Base of all strategies. Override `on_tick`; for speed also `on_batch`, with the same answers."""

    Params: ClassVar[type[Params]] = Params
    """The parameters' class: validated before anything starts."""

    timer_seconds: ClassVar[float | None] = None
    """Call `on_timer` about this often, by the session clock; None: never."""

    _ahead: Iterator[int] = iter(())

    def __init__(self, params: ParamsT) -> None:
        self.params = params

    def on_tick(self, tick: Tick) -> Signal | Iterable[Signal] | None:
        """Look at one tick; return what is wanted at it (see `buy` and `sell`), or None."""
        raise NotImplementedError(f"{type(self).__name__} must define on_tick")

    def on_batch(self, batch: TickBatch) -> Iterable[Signal]:
        """Look at many ticks at once; return signals in order of their ``seq``.

        The default shows each tick to `on_tick`, and yields: what was wanted before a tick that it fails at
        stands. An override must give bit-identical signals, however the ticks are cut into batches.
        """
        on_tick = self.on_tick
        self._ahead = numbers = iter(batch.seq.tolist())
        for tick in batch.ticks(numbers):
            try:
                wanted = on_tick(tick)
            except BaseException as error:
                error.add_note(f"tick {tick.seq}")
                raise
            if wanted is None:
                continue
            if isinstance(wanted, Signal):
                yield wanted
            else:
                yield from wanted

    @property
    def ahead(self) -> int:
        """Ticks of the batch at hand that `on_tick` was not shown yet: how the watchdog sees that it moves."""
        return length_hint(self._ahead)

    def on_timer(self, now: int) -> Signal | Iterable[Signal] | None:
        """The session clock (nanoseconds) passed a multiple of `timer_seconds`; None by default."""
        return None
