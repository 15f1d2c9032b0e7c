"""Text that several rooms write the same way: counts in messages, and the JSON that digests are taken of."""

from __future__ import annotations

import json


def plural(count: int, noun: str) -> str:
    """Return a count with its noun, for example ``1 session`` or ``2,000 sessions``; ``noun`` is a regular singular."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def deterministic_json(data: object, *, compact: bool) -> str:
    """Return plain data as JSON text that is the same on every host: sorted keys, ASCII.

    ``compact``: without spaces, as settings are hashed and stored; else indented by two spaces, as evidence files are
    written. This is not RFC 8785 (JCS): numbers keep Python's shortest form. ``data`` must hold no NaN or infinity.
    """
    return json.dumps(
        data, sort_keys=True, indent=None if compact else 2, separators=(",", ":") if compact else (",", ": ")
    )
