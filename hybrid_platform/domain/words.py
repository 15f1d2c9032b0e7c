"""Counts in messages, in words that agree with them."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return e.g. ``1 session``, ``2,000 sessions``; ``noun`` is regular, and given for one."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
