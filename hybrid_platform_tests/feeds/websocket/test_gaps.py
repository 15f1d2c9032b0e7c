"""Gaps: exact counts with contiguous ids, an unknown count with opaque ones (S3)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.feeds.websocket.gaps import SETTLE_NS, WHOLE_VENUE, GapNumbers, GapTracker
from hybrid_platform.feeds.websocket.venue import Trade

T0 = 1_700_000_000_000_000_000


def tracker(*, contiguous: bool = True) -> GapTracker:
    return GapTracker("ACME", contiguous=contiguous, numbers=GapNumbers())


def trade(ref: int | str | None, *, ts: int = T0, span: int = 1) -> Trade:
    return Trade("X", Decimal(1), Decimal(1), 0, ref, ts, span)


def feed(gaps: GapTracker, *refs: int | str, at: int = T0) -> None:
    for ref in refs:
        gaps.observe("X", [trade(ref, ts=at)], at)


def test_consecutive_ids_are_not_a_gap():
    gaps = tracker()
    feed(gaps, 5, 6, 7, 8)
    assert not gaps.finish(T0)


def test_jump_reports_the_exact_missing_trades():
    gaps = tracker()
    feed(gaps, 5, 6)
    feed(gaps, 10, at=T0 + 9)
    assert not gaps.settle(T0 + 10), "late trades may still arrive"
    [gap] = gaps.settle(T0 + 9 + SETTLE_NS)
    assert (gap.n, gap.venue, gap.symbol, gap.from_id, gap.to_id, gap.missing) == (1, "ACME", "X", "6", "10", 3)
    assert (gap.cause, gap.ts_from, gap.ts_to, gap.ts) == ("trade_id", T0, T0 + 9, T0 + 9)
    assert (gaps.count, gaps.missing) == (1, 3)


def test_trades_that_come_late_fill_the_gap():
    gaps = tracker()
    feed(gaps, 1, 5, 3, 2, 4, 6)
    assert not gaps.finish(T0)
    feed(gaps, 10, 8, 8, 8)
    [gap] = gaps.finish(T0)
    assert gap.missing == 2, "a repeated late trade counts once"


def test_duplicates_neither_make_nor_hide_a_gap():
    gaps = tracker()
    feed(gaps, 1, 2, 3)
    gaps.on_disconnect(["X"], "drop")
    feed(gaps, 2, 3, 7)
    [gap] = gaps.finish(T0)
    assert (gap.from_id, gap.to_id, gap.missing, gap.cause) == ("3", "7", 3, "drop")


def test_a_reconnect_that_lost_nothing_leaves_no_gap():
    gaps = tracker()
    feed(gaps, 1, 2, 3)
    gaps.on_disconnect(["X"], "drop")
    feed(gaps, 3, 4)
    assert not gaps.finish(T0)


def test_a_break_in_opaque_ids_is_a_gap_of_unknown_size():
    gaps = tracker(contiguous=False)
    feed(gaps, "a", "b", "z")
    gaps.on_disconnect(["X"], "stall")
    feed(gaps, "z", "q", "r")
    [gap] = gaps.finish(T0)
    assert (gap.from_id, gap.to_id, gap.missing, gap.cause) == ("z", "q", None, "stall")


def test_numeric_ids_can_be_opaque():
    gaps = tracker(contiguous=False)
    feed(gaps, 10, 500, 20)
    assert not gaps.finish(T0)


def test_a_stream_that_never_resumed_is_a_gap_at_the_end():
    gaps = tracker()
    feed(gaps, 1)
    gaps.on_disconnect(["X", "NEVER-SEEN"], "closed")
    gaps.on_disconnect(["X"], "unreachable")
    [gap] = gaps.finish(T0 + 5)
    assert (gap.from_id, gap.to_id, gap.missing, gap.cause, gap.ts) == ("1", None, None, "closed", T0 + 5)
    assert not gaps.finish(T0 + 5), "reported once"


def test_entries_may_stand_for_several_ids():
    gaps = tracker()
    gaps.observe("X", [trade(10)], T0)
    gaps.observe("X", [trade(15, span=5)], T0)
    assert not gaps.finish(T0)
    gaps.observe("X", [trade(20, span=4)], T0)
    [gap] = gaps.finish(T0)
    assert (gap.from_id, gap.to_id, gap.missing) == ("15", "17", 1)


def test_a_skipped_trade_is_not_a_gap():
    gaps = tracker()
    feed(gaps, 1)
    gaps.skip("X", 2, T0)
    feed(gaps, 3)
    assert not gaps.finish(T0)


def test_the_order_inside_a_frame_does_not_matter():
    gaps = tracker()
    gaps.observe("X", [trade(3), trade(1), trade(2)], T0)
    assert not gaps.finish(T0)


def test_a_jump_in_message_numbers_has_no_symbol():
    gaps = tracker()
    gaps.on_sequence_jump(7, 9, T0)
    [gap] = gaps.settle(T0)
    assert (gap.symbol, gap.from_id, gap.to_id, gap.missing, gap.cause) == (WHOLE_VENUE, "7", "9", None, "sequence")


def test_gaps_of_all_sources_are_numbered_together():
    numbers = GapNumbers()
    one, two = (GapTracker(name, contiguous=True, numbers=numbers) for name in "AB")
    feed(one, 1, 3)
    feed(two, 1, 3)
    assert [gap.n for gap in (*one.finish(T0), *two.finish(T0))] == [1, 2]


@pytest.mark.scenario("S3")
@given(st.data())
def test_reported_gaps_equal_the_lost_trades(data):
    """For any disorder within a second."""
    total = data.draw(st.integers(2, 60))
    lost = data.draw(st.sets(st.integers(2, total), max_size=total)) - {total}
    kept = [n for n in range(1, total + 1) if n not in lost]
    head, tail = kept[:1], data.draw(st.permutations(kept[1:]))
    repeats = data.draw(st.lists(st.sampled_from(kept), max_size=10))
    gaps = tracker()
    feed(gaps, *head, *tail, *repeats)
    found = gaps.finish(T0)
    assert sum(gap.missing or 0 for gap in found) == len(lost)
    assert gaps.missing == len(lost)
