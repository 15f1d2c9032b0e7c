"""A ledger accounts for every event, or names the sum that does not balance (S6)."""

from __future__ import annotations

import pytest

from hybrid_platform.domain.errors import OverloadError
from hybrid_platform.domain.instruments import InstrumentTable, infer_instrument
from hybrid_platform.domain.ticks import batch_from_rows
from hybrid_platform.observability.counters import FeedCounters
from hybrid_platform.observability.session_view import ChannelStats
from hybrid_platform.session.channel import Channel
from hybrid_platform.session.ledger import build_ledger
from hybrid_platform.session.messages import RecordMessage, TickMessage
from hybrid_platform.settings.runtime import OnFull


def stats(name: str, sent: int, received: int, dropped: int = 0, left: int = 0) -> ChannelStats:
    return ChannelStats(name, 10, OnFull.BLOCK, sent, received, dropped, left, 0, 0)


def feed(accepted: int, rejected: int = 0) -> FeedCounters:
    counters = FeedCounters(received=accepted + rejected, accepted=accepted, rejected=rejected)
    if rejected:
        counters.causes["bad_price"] = rejected
    return counters


@pytest.mark.scenario("S6")
def test_a_ledger_of_all_events_balances():
    written = {"ticks": 95, "signals": 3}
    ledger = build_ledger("replay", feed(100, 2), [stats("persist", 103, 98, 5)], written, dict(written))
    assert ledger.balances
    rows = {(row.kind, row.name, row.reason): row.count for row in ledger.rows}
    assert rows["feed", "replay", "rejected"] == rows["rejected", "bad_price", "rejected"] == 2
    assert rows["channel", "persist", "dropped"] == 5
    assert rows["table", "ticks", "counted"] == 95


@pytest.mark.scenario("S6")
@pytest.mark.parametrize(
    ("channel", "written", "counted", "words"),
    [
        (stats("persist", 100, 99), {"ticks": 100}, {"ticks": 100}, "channel persist"),
        (stats("persist", 100, 99, left=1), {"ticks": 100}, {"ticks": 100}, "expected 0 left"),
        (stats("persist", 100, 100), {"ticks": 100}, {"ticks": 99}, "table ticks: 100 rows written, 99 counted"),
        (stats("persist", 100, 100), {"ticks": 99}, {"ticks": 99}, "100 accepted, 99 written"),
        (stats("persist", 100, 100), {"ticks": 100}, {}, "0 counted"),
    ],
)
def test_a_ledger_that_does_not_balance_names_the_sum(channel, written, counted, words):
    ledger = build_ledger("replay", feed(100), [channel], written, counted)
    assert not ledger.balances
    assert words in "; ".join(ledger.faults)


@pytest.mark.scenario("S6", "L4")
def test_a_refused_record_is_not_an_evicted_tick():
    channel: Channel[TickMessage | RecordMessage] = Channel("persist", 2, OnFull.DROP_OLDEST)
    record = RecordMessage((None,))  # type: ignore[arg-type]  # its content does not matter here
    table = InstrumentTable()
    table.add(infer_instrument("V", "A-USD"))
    channel.send(TickMessage(batch_from_rows(table, [(0, 100, 1, 0, n, n, n) for n in range(3)])))
    for _ in range(2):
        channel.send(record, guaranteed=True)
    with pytest.raises(OverloadError):
        channel.send(record, guaranteed=True)
    channel.receive()
    assert channel.stats()[3:7] == (6, 4, 2, 0)
    written = {"ticks": 2, "signals": 2}
    ledger = build_ledger("synthetic", feed(3), [channel.stats()], written, written)
    assert ledger.faults == ("channel persist: expected every decision's records taken, got 1 refused",)
    rows = {(row.kind, row.name, row.reason): row.count for row in ledger.rows}
    assert (rows["channel", "persist", "dropped"], rows["channel", "persist", "refused"]) == (2, 1)


@pytest.mark.scenario("S6")
def test_a_feed_whose_rows_do_not_add_up_fails_the_ledger():
    counters = FeedCounters(received=10, accepted=9)
    ledger = build_ledger("replay", counters, [], {"ticks": 9}, {"ticks": 9})
    assert "feed replay" in ledger.faults[0]


@pytest.mark.scenario("S6", "S15")
def test_sampled_out_ticks_must_match_the_ladder_levels():
    counters = FeedCounters(received=100, accepted=60, sampled_out=40)
    written = {"ticks": 60}
    ledger = build_ledger("synthetic", counters, [], written, written, {2: 30, 5: 10})
    assert ledger.balances
    rows = {(row.kind, row.name, row.reason): row.count for row in ledger.rows}
    assert (rows["ladder", "every 2", "sampled_out"], rows["ladder", "every 5", "sampled_out"]) == (30, 10)
    wrong = build_ledger("synthetic", counters, [], written, written, {2: 30})
    assert wrong.faults == ("feed synthetic: 40 sampled out, 30 by the ladder's levels",)
