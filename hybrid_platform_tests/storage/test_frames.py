"""Sessions as data frames."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.storage import queries
from hybrid_platform.storage.frames import frames, list_sessions, ticks_between
from hybrid_platform.storage.views import PUBLIC_TABLES
from hybrid_platform_tests.storage.conftest import SESSION
from hybrid_platform_tests.storage.samples import MS, START_NS


def test_every_table_of_the_contract_is_a_frame(finished):
    tables = frames(finished, SESSION)
    assert list(tables) == list(PUBLIC_TABLES)
    assert {name: len(tables[name]) for name in tables} == {
        "sessions": 1, "ticks": 10_000, "signals": 40, "vetoes": 0, "orders": 40, "order_events": 160, "trades": 40,
        "inputs": 0, "heartbeats": 0, "gaps": 0, "ledger": 9,
    }  # fmt: skip
    for name in tables:
        assert list(tables[name].columns) == [column.name for column in PUBLIC_TABLES[name].c]
    with pytest.raises(KeyError):
        tables["nonsense"]
    with pytest.raises(ConfigError, match="the id of a session"):
        frames(finished, "'; DROP TABLE sessions")


def test_frames_keep_decimals_exact_and_times_integer(finished):
    trades = frames(finished, SESSION)["trades"]
    assert trades["fees"].sum() == Decimal("0.01002") * 40
    assert isinstance(trades["fill_price"].iloc[0], Decimal)
    assert str(trades["ts"].dtype) == "int64"
    assert str(trades["is_shadow"].dtype) == "bool"
    empty = frames(finished, SESSION)["heartbeats"]
    assert str(empty["ts"].dtype) == "int64"


def test_sessions_are_a_frame_too(finished):
    found = list_sessions(finished)
    assert list(found["session_id"]) == [SESSION]
    assert "settings" not in found.columns
    assert found["exit_code"].iloc[0] == 0


@pytest.mark.parametrize("clock", ["ts_event", "ts_recv"])
@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 10**19 // 10), (START_NS + 500 * MS, START_NS + 501 * MS), (START_NS + 999 * MS + 1, START_NS + 5_432 * MS),
     (START_NS, START_NS), (START_NS + 10_001 * MS, START_NS + 20_000 * MS), (0, START_NS),
     (START_NS + 2_500 * MS, START_NS + 2_600 * MS), (START_NS + 5_000 * MS, START_NS + 5_001 * MS),
     (START_NS + 5_005 * MS, START_NS + 5_006 * MS), (START_NS + 5_001 * MS, START_NS + 5_002 * MS)],
)  # fmt: skip
def test_ticks_are_found_by_time_through_the_sparse_index(finished, start, end, clock):
    ticks = frames(finished, SESSION)["ticks"]
    expected = ticks[(ticks[clock] >= start) & (ticks[clock] < end)]
    assert list(ticks_between(finished, SESSION, start, end, clock)["seq"]) == list(expected["seq"])


def test_a_range_of_time_reads_only_the_batches_that_overlap_it(finished):
    ranges = queries.find_seq_ranges(finished, SESSION, START_NS + 500 * MS, START_NS + 501 * MS)
    assert len(ranges) == 1
    assert ranges[0][1] - ranges[0][0] < 6_000
