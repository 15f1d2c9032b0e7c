"""Ids that were here before, in bounded memory: a session that runs for days forgets its oldest (I3).

in: an id and its place in a numbering that never goes down · out: how often it was here. The last
`WINDOW` ids are known exactly. What lies before the ones that were forgotten has been here: whoever
numbers them gives nothing new there.
"""

from __future__ import annotations

from collections import OrderedDict

WINDOW = 16_384


class RecentIds:
    """Owned by one thread."""

    __slots__ = ("_floor", "_seen", "_window")

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        # Ordered: the first key of a plain dict is found behind all that were taken from it, 8 µs a signal.
        self._seen: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Id -> how often, and its place; the oldest first."""
        self._floor: int | None = None
        """The highest place that was forgotten."""

    def record(self, key: str, place: int) -> int:
        """Remember an id, and return how often it was here, this time included."""
        found = self._seen.get(key)
        if found is not None:
            times = found[0] + 1
        else:
            times = 2 if self._floor is not None and place < self._floor else 1
            if len(self._seen) >= self._window:
                _, (_, forgotten) = self._seen.popitem(last=False)
                self._floor = forgotten if self._floor is None else max(self._floor, forgotten)
        self._seen[key] = (times, place)
        return times
