"""What a session itself proves of S15: its load was watched, and stayed in bounds or was answered.

in: the figures of the overload watch · out: a proof, NOT_RUN where the session had nothing to throttle.
"""

from __future__ import annotations

from hybrid_platform.evidence.records import OverloadFigures, ProofVerdict

LATE_SECONDS = 5.0
"""How late a busy host may let a look be."""


def overload_proof(figures: OverloadFigures | None) -> tuple[str, str, ProofVerdict]:
    """Return expected, actual and verdict."""
    if figures is None:
        return "a live feed with a pace of its own", "a feed that nothing is left out of", ProofVerdict.NOT_RUN
    limit = "no limit" if figures.pressure_limit is None else f"{figures.pressure_limit:g} %"
    watched = f"CPU pressure at most {figures.most_pressure:g} % of {limit}, {figures.readings} readings"
    expected = f"load watched, above its limits for less than {figures.step_up_s:g} s at a time or throttled"
    if figures.stepped:
        top = max(int(rung) for rung, seconds in figures.seconds_at.items() if seconds)
        out = sum(figures.sampled_out.values())
        acted = f"{watched}; {figures.stepped} steps, at most every {top}th tick, {out} sampled out and counted"
        return expected, acted + ("; stopped at the top" if figures.stopped else ""), ProofVerdict.PASS
    if figures.above_s and (figures.spared_s or not figures.sample):
        why = "the feed is too slow to be sampled" if figures.sample else "sampling is switched off"
        return expected, f"{watched}; above for {figures.above_s:g} s, {why}", ProofVerdict.NOT_RUN
    if figures.pressure_limit is None or not figures.readings:
        return expected, watched, ProofVerdict.NOT_RUN
    holds = figures.longest_above_s <= figures.step_up_s + LATE_SECONDS
    above = f"; above its limits for {figures.longest_above_s:g} s at most" if figures.above_s else ""
    return expected, watched + above, ProofVerdict.PASS if holds else ProofVerdict.FAIL
