"""The journal of a finished session: ticks that the strategy never received, and the events between the ticks.

in: the rows of ``inputs`` in order · out: a `SessionJournal`. Automatic commands, which risk limits gave, are rows too
but not inputs: the replay has to produce them again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hybrid_platform.domain.commands import Command, parse_command
from hybrid_platform.domain.orders import InputKind, InputRecord
from hybrid_platform.domain.ticks import Int64s
from hybrid_platform.strategies.runner import parse_drop
from hybrid_platform.trading.adapters.live import decode_report
from hybrid_platform.trading.order import Report


class JournalEntry(NamedTuple):
    """An event between two ticks."""

    record: InputRecord
    message: Command | Report | None
    """An operator's command, or a live venue's report; None for dropped ticks and timers."""


class SessionJournal(NamedTuple):
    """A session's inputs other than its ticks."""

    entries: tuple[JournalEntry, ...]
    """Drops, timers, operators' commands and a venue's reports, in the order in which execution received them."""
    late: dict[str, int]
    """Time of the late decision by signal id."""
    dropped_ranges: Int64s
    """First and last tick of each range that was dropped before the strategy, shape (n, 2)."""
    counts: dict[str, int]
    """Number of rows by kind."""

    @property
    def dropped(self) -> int:
        """Number of ticks that never reached the strategy."""
        return int((self.dropped_ranges[:, 1] - self.dropped_ranges[:, 0] + 1).sum())

    @property
    def last_seq(self) -> int:
        """The last tick before an entry of the journal."""
        return max((entry.record.after_seq for entry in self.entries), default=0)

    def first_seen(self, first: int, last: int) -> int | None:
        """Return the first tick from ``first`` to ``last`` that reached the strategy, or None."""
        while first <= last:
            place = int(np.searchsorted(self.dropped_ranges[:, 0], first, side="right")) - 1
            if place < 0 or first > self.dropped_ranges[place, 1]:
                return first
            first = int(self.dropped_ranges[place, 1]) + 1
        return None

    def was_seen(self, seq: Int64s) -> npt.NDArray[np.bool_]:
        """Return for each tick number whether the tick reached the strategy."""
        if not len(self.dropped_ranges):
            return np.ones(len(seq), dtype=np.bool_)
        place = np.searchsorted(self.dropped_ranges[:, 0], seq, side="right") - 1
        seen: npt.NDArray[np.bool_] = (place < 0) | (seq > self.dropped_ranges[place, 1])
        return seen


def parse_journal(rows: Iterable[InputRecord]) -> SessionJournal:
    """Return the journal; raise ValueError, with the row, for an entry whose detail is malformed."""
    entries: list[JournalEntry] = []
    late: dict[str, int] = {}
    dropped: list[tuple[int, int]] = []
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.kind.value] += 1
        if row.kind is InputKind.LATE_DECISION:
            late[_signal_id(row)] = row.ts
            continue
        command = parse_command(row)
        if command is not None and command.automatic:
            continue
        if row.kind is InputKind.DROP:
            dropped.append(parse_drop(row))
        entries.append(JournalEntry(row, command or decode_report(row)))
    return SessionJournal(
        tuple(entries), late, np.array(sorted(dropped), dtype=np.int64).reshape(-1, 2), dict(sorted(counts.items()))
    )


def _signal_id(row: InputRecord) -> str:
    try:
        return str(json.loads(row.detail)["signal_id"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"inputs n={row.n}: expected the id of a signal, got {row.detail[:80]!r}") from None
