"""Latency of orders, cancels and reports: named presets, and delays drawn with a seed."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import NamedTuple

from hybrid_platform.domain.clocks import NS_PER_MS
from hybrid_platform.settings.trading import PaperSettings


class Latency(NamedTuple):
    """Delays; each is drawn uniformly between its value and its value × (1 + jitter)."""

    submit_ns: int
    """From us to the venue, for an order."""
    cancel_ns: int
    """From us to the venue, for a cancel."""
    report_ns: int
    """From the venue to us."""
    jitter: float


PRESETS = {
    "none": Latency(0, 0, 0, 0.0),
    "colocated": Latency(100_000, 100_000, 100_000, 0.5),
    "cloud": Latency(5 * NS_PER_MS, 5 * NS_PER_MS, 5 * NS_PER_MS, 1.0),
    "home": Latency(40 * NS_PER_MS, 40 * NS_PER_MS, 40 * NS_PER_MS, 1.0),
}
"""``colocated``: in the venue's building; ``cloud``: in a data centre of its region; ``home``: on another continent."""


def resolve_latency(paper: PaperSettings) -> Latency:
    """Return the preset, with the delays that the settings override."""
    preset = PRESETS[paper.latency]
    return Latency(
        _ns(paper.submit_ms, preset.submit_ns),
        _ns(paper.cancel_ms, preset.cancel_ns),
        _ns(paper.report_ms, preset.report_ns),
        preset.jitter if paper.jitter is None else float(paper.jitter),
    )


def _ns(milliseconds: Decimal | None, preset: int) -> int:
    return preset if milliseconds is None else int(milliseconds * NS_PER_MS)


class VenueRandom:
    """The venue's random decisions: delays and rejects, drawn in one sequence that follows from the seed."""

    def __init__(self, seed: int, jitter: float, reject_rate: float) -> None:
        self._random = random.Random(seed)  # noqa: S311  # a simulation, not a secret
        self._jitter = jitter
        self._reject_rate = reject_rate

    def draw_delay(self, base_ns: int) -> int:
        """Return one delay in nanoseconds."""
        return base_ns + int(base_ns * self._jitter * self._random.random()) if self._jitter and base_ns else base_ns

    def draw_reject(self) -> bool:
        """Return whether the venue rejects an order at random."""
        return bool(self._reject_rate) and self._random.random() < self._reject_rate
