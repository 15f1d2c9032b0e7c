"""What a finished session's ``inputs`` say: which ticks the strategy never saw, and what came between them.

in: the rows of ``inputs`` in order · out: a `Journal`. What a limit did by itself (automatic commands) is
in the journal too, but is no input: the replay has to find it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hybrid_platform.domain.commands import Command, command_of
from hybrid_platform.domain.orders import InputKind, InputRecord
from hybrid_platform.domain.ticks import Int64s
from hybrid_platform.strategies.runner import parse_drop
from hybrid_platform.trading.adapters.live import decode_report
from hybrid_platform.trading.order import Report


class Entry(NamedTuple):
    """Something that happened between two ticks."""

    record: InputRecord
    word: Command | Report | None
    """A person's command, or what a live venue said; None: a hole or a timer."""


class Journal(NamedTuple):
    """A session's inputs beside its ticks."""

    entries: tuple[Entry, ...]
    """Holes, timers, persons' commands and a venue's reports, in the order in which execution met them."""
    late: dict[str, int]
    """Signal id -> instant of its late decision."""
    holes: Int64s
    """First and last tick of each hole before the strategy, shape (n, 2)."""
    counts: dict[str, int]
    """Entries by kind, all of them."""

    @property
    def dropped(self) -> int:
        """How many ticks never reached the strategy."""
        return int((self.holes[:, 1] - self.holes[:, 0] + 1).sum())

    @property
    def last_seq(self) -> int:
        """The last tick that the journal knows of."""
        return max((entry.record.after_seq for entry in self.entries), default=0)

    def first_seen(self, first: int, last: int) -> int | None:
        """Return the first tick from ``first`` to ``last`` that reached the strategy, or None."""
        while first <= last:
            hole = int(np.searchsorted(self.holes[:, 0], first, side="right")) - 1
            if hole < 0 or first > self.holes[hole, 1]:
                return first
            first = int(self.holes[hole, 1]) + 1
        return None

    def was_seen(self, seq: Int64s) -> npt.NDArray[np.bool_]:
        """Return, for each number, whether that tick reached the strategy."""
        if not len(self.holes):
            return np.ones(len(seq), dtype=np.bool_)
        hole = np.searchsorted(self.holes[:, 0], seq, side="right") - 1
        seen: npt.NDArray[np.bool_] = (hole < 0) | (seq > self.holes[hole, 1])
        return seen


def read_journal(rows: Iterable[InputRecord]) -> Journal:
    """Return the journal; raise ValueError, naming the row, for an entry that does not say what it must."""
    entries: list[Entry] = []
    late: dict[str, int] = {}
    holes: list[tuple[int, int]] = []
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.kind.value] += 1
        if row.kind is InputKind.LATE_DECISION:
            late[_signal_id(row)] = row.ts
            continue
        command = command_of(row)
        if command is not None and command.automatic:
            continue
        if row.kind is InputKind.DROP:
            holes.append(parse_drop(row))
        entries.append(Entry(row, command or decode_report(row)))
    return Journal(
        tuple(entries), late, np.array(sorted(holes), dtype=np.int64).reshape(-1, 2), dict(sorted(counts.items()))
    )


def _signal_id(row: InputRecord) -> str:
    try:
        return str(json.loads(row.detail)["signal_id"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"inputs n={row.n}: expected the id of a signal, got {row.detail[:80]!r}") from None
