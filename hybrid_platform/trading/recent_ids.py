"""Counts of recent ids in bounded memory: a session that runs for days forgets the oldest (I3).

in: an id and its number in a sequence that never decreases · out: how often the id occurred. The last
`WINDOW` ids are known exactly. An id whose number lies below that of a forgotten one counts as known,
because its source never issues a new id there.
"""

from __future__ import annotations

from collections import OrderedDict

WINDOW = 16_384


class RecentIds:
    """Owned by one thread."""

    __slots__ = ("_floor", "_seen", "_window")

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        # An OrderedDict, because a plain dict scans all deleted keys to find its first one (8 µs per signal).
        self._seen: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Id -> count and number; the oldest first."""
        self._floor: int | None = None
        """The highest number that was forgotten."""

    def record(self, key: str, number: int) -> int:
        """Record an id, and return how often it occurred, this time included."""
        found = self._seen.get(key)
        if found is not None:
            count = found[0] + 1
        else:
            count = 2 if self._floor is not None and number < self._floor else 1
            if len(self._seen) >= self._window:
                _, (_, forgotten) = self._seen.popitem(last=False)
                self._floor = forgotten if self._floor is None else max(self._floor, forgotten)
        self._seen[key] = (count, number)
        return count
