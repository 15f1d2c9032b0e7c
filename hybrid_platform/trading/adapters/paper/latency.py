"""How long orders, cancels and reports travel: named presets, drawn with a seed."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import NamedTuple

from hybrid_platform.domain.clocks import NS_PER_MS
from hybrid_platform.settings.trading import PaperSettings


class Latency(NamedTuple):
    """Delays in nanoseconds, each drawn evenly between itself and itself × (1 + jitter)."""

    submit: int
    """An order's way to the venue."""
    cancel: int
    """A cancel's way to the venue."""
    report: int
    """A report's way back."""
    jitter: float


PRESETS = {
    "none": Latency(0, 0, 0, 0.0),
    "colocated": Latency(100_000, 100_000, 100_000, 0.5),
    "cloud": Latency(5 * NS_PER_MS, 5 * NS_PER_MS, 5 * NS_PER_MS, 1.0),
    "home": Latency(40 * NS_PER_MS, 40 * NS_PER_MS, 40 * NS_PER_MS, 1.0),
}
"""In the venue's building; in a data centre of its region; from a home line to another continent."""


def resolve_latency(paper: PaperSettings) -> Latency:
    """Return the preset, with what the settings state instead of it."""
    preset = PRESETS[paper.latency]
    return Latency(
        _ns(paper.submit_ms, preset.submit),
        _ns(paper.cancel_ms, preset.cancel),
        _ns(paper.report_ms, preset.report),
        preset.jitter if paper.jitter is None else float(paper.jitter),
    )


def _ns(milliseconds: Decimal | None, preset: int) -> int:
    return preset if milliseconds is None else int(milliseconds * NS_PER_MS)


class VenueRandom:
    """The venue's chance: delays and random rejects, in one sequence that follows from the seed."""

    def __init__(self, seed: int, jitter: float, reject_rate: float) -> None:
        self._random = random.Random(seed)  # noqa: S311  # a simulation, not a secret
        self._jitter = jitter
        self._reject_rate = reject_rate

    def delay(self, base: int) -> int:
        """Return one delay in nanoseconds."""
        return base + int(base * self._jitter * self._random.random()) if self._jitter and base else base

    def rejects(self) -> bool:
        """Return whether the venue rejects an order for no reason of ours."""
        return bool(self._reject_rate) and self._random.random() < self._reject_rate
