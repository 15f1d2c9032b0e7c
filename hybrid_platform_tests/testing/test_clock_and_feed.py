"""The test clock, the list feed and the list log."""

from __future__ import annotations

import threading
from decimal import Decimal
from itertools import pairwise

import pytest

from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.testing import ListFeed, ListLog, TestClock, TickSpec


def test_a_test_clock_only_moves_when_advanced():
    clock = TestClock(wall_ns=5, monotonic_ns=7)
    clock.advance(1.5)
    assert (clock.wall_ns(), clock.monotonic_ns()) == (1_500_000_005, 1_500_000_007)
    clock.step_wall(-2)
    assert (clock.wall_ns(), clock.monotonic_ns()) == (-499_999_995, 1_500_000_007)
    with pytest.raises(ValueError, match="seconds >= 0"):
        clock.advance(-1)


def test_a_list_feed_yields_its_ticks_in_order():
    feed = ListFeed(InstrumentTable(), [100, "100.5", TickSpec(99, 2, "ETH/USD", -1, "t3")], per_batch=2)
    feed.open()
    batches = list(feed.batches(threading.Event()))
    feed.close()
    assert [batch.received for batch in batches] == [2, 1]
    ticks = [tick for batch in batches for tick in batch.ticks.ticks()]
    assert [(t.symbol, t.price, t.size, t.side, t.trade_id) for t in ticks] == [
        ("SOL/USDC", Decimal(100), Decimal(1), 0, None),
        ("SOL/USDC", Decimal("100.5"), Decimal(1), 0, None),
        ("ETH/USD", Decimal(99), Decimal(2), -1, "t3"),
    ]
    assert [later.ts_event - earlier.ts_event for earlier, later in pairwise(ticks)] == [10**9] * 2


def test_a_list_feed_can_be_stopped():
    stop = threading.Event()
    batches = ListFeed(InstrumentTable(), range(1, 100)).batches(stop)
    next(batches)
    stop.set()
    assert list(batches) == []


def test_a_list_log_can_be_read():
    log = ListLog()
    log.info("a", x=1)
    log.warning("b")
    log.error("a", x=2)
    assert log.of("a") == [{"x": 1}, {"x": 2}]
    assert [entry.level for entry in log.entries] == ["INFO", "WARNING", "ERROR"]
