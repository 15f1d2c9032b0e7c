"""Wording that messages share."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """Return a count with its noun, for example ``1 session`` or ``2,000 sessions``; ``noun`` is a regular singular."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
