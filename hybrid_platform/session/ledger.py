"""The ledger of a session, which accounts for every event; if it does not balance, the session fails (S6).

in: channel statistics, feed counters, rows written and rows counted · out: rows of ``ledger`` and the
sums that do not balance, each with its figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hybrid_platform.observability.counters import FeedCounters
from hybrid_platform.observability.session_view import ChannelStats

REFUSED = "refused"
"""The reason in ``ledger`` for guaranteed events that a channel lost; they are counted in ``dropped`` too."""


class LedgerRow(NamedTuple):
    """One row of ``ledger``."""

    kind: str
    name: str
    reason: str
    count: int  # type: ignore[assignment]  # the column's name; tuple.count is not missed


class Ledger(NamedTuple):
    """All rows, and the sums that do not balance."""

    rows: tuple[LedgerRow, ...]
    faults: tuple[str, ...]

    @property
    def balances(self) -> bool:
        """Whether every event is accounted for."""
        return not self.faults


def build_ledger(
    feed_name: str,
    feed: FeedCounters,
    channels: Iterable[ChannelStats],
    written: Mapping[str, int],
    counted: Mapping[str, int],
    sampled_out: Mapping[int, int] | None = None,
) -> Ledger:
    """Return the ledger of an ended session; ``written`` and ``counted`` are rows by table.

    ``sampled_out`` counts ticks by level of the throttle ladder.
    """
    rows: list[LedgerRow] = []
    faults: list[str] = []
    for reason in ("received", "accepted", "rejected", "duplicate", "sampled_out", "history"):
        rows.append(LedgerRow("feed", feed_name, reason, getattr(feed, reason)))
    rows.extend(LedgerRow("rejected", cause, "rejected", count) for cause, count in sorted(feed.causes.items()))
    if not feed.balances:
        faults.append(f"feed {feed_name}: received {feed.received} is not the sum of what became of it")
    levels = sampled_out or {}
    rows.extend(LedgerRow("ladder", f"every {level}", "sampled_out", count) for level, count in sorted(levels.items()))
    if feed.sampled_out != sum(levels.values()):
        faults.append(
            f"feed {feed_name}: {feed.sampled_out} sampled out, {sum(levels.values())} by the ladder's levels"
        )
    evicted = 0
    for stats in channels:
        counts = {"sent": stats.sent, "received": stats.received, "dropped": stats.dropped, "left": stats.depth}
        rows.extend(LedgerRow("channel", stats.name, reason, count) for reason, count in counts.items())
        if stats.refused:
            rows.append(LedgerRow("channel", stats.name, REFUSED, stats.refused))
        if not stats.balances or stats.depth:
            faults.append(
                f"channel {stats.name}: sent {stats.sent} = received {stats.received} + dropped {stats.dropped} "
                f"+ left {stats.depth} (expected 0 left)"
            )
        if stats.name == "persist":
            # Only ticks are evicted; the records among the dropped events are those that were refused.
            evicted = stats.dropped - stats.refused
            if stats.refused:
                faults.append(f"channel persist: expected every decision's records taken, got {stats.refused} refused")
    for table in sorted(set(written) | set(counted)):
        wrote, found = written.get(table, 0), counted.get(table, 0)
        rows += [LedgerRow("table", table, "written", wrote), LedgerRow("table", table, "counted", found)]
        if wrote != found:
            faults.append(f"table {table}: {wrote} rows written, {found} counted")
    if feed.accepted != written.get("ticks", 0) + evicted:
        faults.append(f"ticks: {feed.accepted} accepted, {written.get('ticks', 0)} written + {evicted} evicted")
    return Ledger(tuple(rows), tuple(faults))
