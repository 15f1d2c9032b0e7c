"""The session's writer: every row is stored once and counted."""

from __future__ import annotations

import sqlite3
from decimal import Decimal

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa

from hybrid_platform.domain.errors import StorageError
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.domain.orders import (
    GapRecord,
    HeartbeatRecord,
    InputKind,
    InputRecord,
    OrderEventRecord,
    OrderRecord,
    OrderStatus,
    Side,
    SignalRecord,
    VetoReason,
    VetoRecord,
)
from hybrid_platform.domain.ticks import batch_from_rows
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.errors import Cause, DatabaseError
from hybrid_platform.storage.queries import count_rows, count_ticks
from hybrid_platform.storage.reader import read_records, read_tick_batches
from hybrid_platform.storage.rows import MAX_PARAMETERS, RECORD_LAYOUTS, TICK_COLUMNS, BulkInsert
from hybrid_platform.storage.sessions import SessionStore
from hybrid_platform.storage.writer import TICKS_PER_BATCH_ROW, SessionWriter
from hybrid_platform_tests.storage.conftest import SESSION
from hybrid_platform_tests.storage.samples import (
    START_NS,
    make_order_records,
    make_table,
    make_ticks,
    order_record,
    session_start,
)

A_STATEMENT = MAX_PARAMETERS // len(TICK_COLUMNS)
"""Ticks with ids per statement."""


def rows(engine: sa.Engine, query: str) -> list[tuple[object, ...]]:
    with transaction(engine, "looking") as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def test_written_rows_are_counted_and_stored(writer, reading):
    ticks = make_ticks(make_table(), 1, 10)
    assert writer.write([ticks[:4], ticks[4:]], make_order_records(3)) == 10 + 7
    expected = {
        "ticks": 10,
        "signals": 1,
        "vetoes": 0,
        "orders": 1,
        "order_events": 4,
        "trades": 1,
        "inputs": 0,
        "heartbeats": 0,
        "gaps": 0,
    }
    assert writer.written == expected
    assert count_rows(reading, SESSION) == expected
    assert writer.errors == 0


def test_an_empty_write_changes_nothing(writer):
    assert writer.write([], []) == 0
    assert writer.write([make_ticks(make_table(), 1, 0)], []) == 0


def test_the_view_shows_prices_sides_and_ids_in_public_form(writer, reading):
    table = InstrumentTable()
    table.add(Instrument("BINANCE", "BTC/USDT", price_scale=2, size_scale=8))
    price, size = 4_223_511, 12_345_678
    ticks = batch_from_rows(
        table, [(0, price, size, 1, 77, 10, 20), (0, price, 0, -1, "x-1", 11, 21), (0, price, size, 0, None, 12, 22)]
    )
    writer.write([ticks.with_seq_from(1)], [])
    assert rows(reading, "SELECT * FROM ticks") == [
        (SESSION, 1, "BINANCE", "BTC/USDT", 42235.11, 0.12345678, "BUY", "77", 10, 20),
        (SESSION, 2, "BINANCE", "BTC/USDT", 42235.11, 0.0, "SELL", "x-1", 11, 21),
        (SESSION, 3, "BINANCE", "BTC/USDT", 42235.11, 0.12345678, None, None, 12, 22),
    ]


def test_a_trade_id_that_looks_like_a_number_stays_text(writer, reading):
    refs = ["007", "1e5", " 1", "0x10", "18446744073709551616", "", "-0"]
    ticks = batch_from_rows(make_table(), [(0, 1, 1, 0, ref, 0, 0) for ref in refs])
    writer.write([ticks.with_seq_from(1)], [])
    assert [ref for (ref,) in rows(reading, "SELECT trade_id FROM ticks ORDER BY seq")] == refs


@pytest.mark.parametrize("n", [1, 3, 4, 5, 63, 4_096, A_STATEMENT - 1, A_STATEMENT, A_STATEMENT + 1, 4 * A_STATEMENT])
def test_any_number_of_ticks_is_written_completely(writer, writing, reading, n):
    ticks = make_ticks(make_table("A", "B", "C"), 1, n)
    assert writer.write([ticks], []) == n
    SessionStore(writing).mark_crashed(lambda session: True)
    table = InstrumentTable()
    back = list(read_tick_batches(reading, SESSION, table, ticks_at_once=10_000))
    assert [item.symbol for item in table] == ["A", "B", "C"]
    for column in ("seq", "instrument", "price", "size", "side", "ts_event", "ts_recv"):
        assert np.array_equal(np.concatenate([getattr(batch, column) for batch in back]), getattr(ticks, column)), (
            column
        )


def test_statements_of_every_size_respect_sqlites_limit():
    for width in (7, 8, 15):
        table = BulkInsert("t", [f"c{i}" for i in range(width)], 1, key="c0")
        sizes = table._sizes
        assert sizes[0] * width <= MAX_PARAMETERS < (sizes[0] + 1) * width
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[-1] == 1


def test_a_sqlite_with_a_small_limit_gets_smaller_statements(writing, reading):
    @sa.event.listens_for(writing, "connect")
    def _limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)

    with SessionWriter(writing, SESSION) as writer:
        assert writer.write([make_ticks(make_table(), 1, 1_000)], make_order_records(1)) == 1_007


def test_batches_with_and_without_ids_may_be_mixed(writer, reading):
    table = make_table()
    none = batch_from_rows(table, [(0, 1, 1, 0, None, 0, 0)]).with_seq_from(1)
    integers = batch_from_rows(table, [(0, 1, 1, 0, 2**62, 0, 0)]).with_seq_from(2)
    texts = batch_from_rows(table, [(0, 1, 1, 0, "2", 0, 0), (0, 1, 1, 0, None, 0, 0)]).with_seq_from(3)
    writer.write([none, integers, texts], [])
    writer.write([make_ticks(table, 5, 1)], [])
    assert rows(reading, "SELECT trade_ref, typeof(trade_ref) FROM tick_rows ORDER BY seq") == [
        (None, "null"), (2**62, "integer"), ("2", "text"), (None, "null"), (None, "null"),
    ]  # fmt: skip


ALL_RECORDS = [
    *make_order_records(1),
    SignalRecord("S2", 2, "V", "B", Side.SELL, Decimal("1E+3"), 1.0, "R", START_NS),
    VetoRecord("S2", 2, "V", "B", VetoReason.RISK_CAP, "total 10001 of 10000", START_NS),
    msgspec.structs.replace(order_record(9, OrderStatus.REJECTED), price=None, reduce_only=True),
    InputRecord(1, 7, InputKind.DROP, START_NS, '{"first": 3, "last": 5}'),
    HeartbeatRecord(0, START_NS, 0, False, "{}"),
    HeartbeatRecord(1, START_NS + 1, 2_500, True, '{"tick_count": 3}'),
    GapRecord(1, "BINANCE", "BTCUSDT", "10", "14", 3, "trade_id", START_NS, START_NS + 1, START_NS + 2),
    GapRecord(2, "KRAKEN", "*", None, None, None, "closed", 0, 0, START_NS + 3),
]


def test_every_record_type_comes_back_equal(writer, reading):
    writer.write([], ALL_RECORDS)
    kinds = {type(record) for record in ALL_RECORDS}
    assert kinds == set(RECORD_LAYOUTS)
    for kind in kinds:
        latest = {
            getattr(record, RECORD_LAYOUTS[kind].key, index): record
            for index, record in enumerate(ALL_RECORDS)
            if type(record) is kind
        }
        assert list(read_records(reading, SESSION, kind)) == list(latest.values())


def test_exact_numbers_are_stored_as_canonical_text(writer, reading):
    sizes = ["0.1", "0.10", "1E+3", "-0", "1e-30", "123456789012345678901234567890.5", "100", "7"]
    writer.write(
        [], [SignalRecord(f"S{k}", k, "V", "X", Side.BUY, Decimal(size), 0.5, "", 0) for k, size in enumerate(sizes)]
    )
    assert [text for (text,) in rows(reading, "SELECT size FROM signals ORDER BY seq")] == [
        "0.1", "0.1", "1000", "0", "0." + "0" * 29 + "1", "123456789012345678901234567890.5", "100", "7",
    ]  # fmt: skip


@pytest.mark.scenario("S10")
@pytest.mark.parametrize("cut", range(9))
def test_a_later_state_of_an_order_changes_only_its_status(writer, reading, cut):
    records = [
        order_record(1),
        order_record(2),
        order_record(1, OrderStatus.ACCEPTED),
        msgspec.structs.replace(order_record(1, OrderStatus.PARTIALLY_FILLED), qty=Decimal(999), ts=1),
        order_record(3, OrderStatus.REJECTED),
        order_record(1, OrderStatus.CANCELED),
        order_record(1, OrderStatus.FILLED),  # a late fill
        order_record(2, OrderStatus.EXPIRED),
    ]
    assert writer.write([], records[:cut]) + writer.write([], records[cut:]) == 3
    assert writer.written["orders"] == 3
    assert list(read_records(reading, SESSION, OrderRecord)) == [
        order_record(1, OrderStatus.FILLED),
        order_record(2, OrderStatus.EXPIRED),
        order_record(3, OrderStatus.REJECTED),
    ]


@pytest.mark.scenario("I3")
def test_writing_the_same_rows_again_changes_nothing(writer, reading):
    ticks = make_ticks(make_table(), 1, 100)
    writer.write([ticks], ALL_RECORDS)
    before = writer.written
    assert writer.write([ticks], ALL_RECORDS) == 0
    assert writer.write([ticks[50:], make_ticks(make_table(), 101, 7)], ALL_RECORDS) == 7
    assert writer.written == {**before, "ticks": 107}
    assert count_rows(reading, SESSION) == writer.written


@pytest.mark.scenario("I3", "L4")
@pytest.mark.parametrize(
    ("ticks", "records", "named"),
    [
        ([make_ticks(make_table(), 5, 1, step_ns=2)], [], "ticks: .* another at key 5"),
        ([], [OrderEventRecord(4, "O1", OrderStatus.CANCELED, "", 0)], "order_events: .* at key 4"),
        ([], [msgspec.structs.replace(make_order_records(1)[0], reason="OTHER")], "signals: .* at key S1"),
        ([], [msgspec.structs.replace(make_order_records(1)[-1], n=99)], "CONSTRAINT"),
    ],
    ids=["tick", "event", "signal", "trade under another number"],
)
def test_a_conflicting_row_rolls_back_the_whole_write(writer, reading, ticks, records, named):
    writer.write([make_ticks(make_table(), 1, 10)], make_order_records(1))
    before = writer.written
    with pytest.raises(DatabaseError, match=named) as caught:
        writer.write([make_ticks(make_table(), 11, 10), *ticks], [*make_order_records(2), *records])
    assert caught.value.cause is Cause.CONFLICT
    assert writer.written == count_rows(reading, SESSION) == before
    assert writer.errors == 1
    assert writer.write([make_ticks(make_table(), 11, 10)], make_order_records(2)) == 17
    assert rows(reading, "SELECT n FROM signals") == [(1,), (2,)]


@pytest.mark.scenario("L4")
@pytest.mark.parametrize(
    "record",
    [
        HeartbeatRecord(2**63, 0, 0, False, ""),
        SignalRecord("S1", 1, "V", "X", Side.BUY, Decimal("NaN"), 0.5, "", 0),
        SignalRecord("S1", 1, "V", "X", Side.BUY, Decimal("NaN123"), 0.5, "", 0),
        SignalRecord("S1", 1, "V", "X", Side.BUY, Decimal("Infinity"), 0.5, "", 0),
        SignalRecord("S1", 1, "V", "X", Side.BUY, Decimal(1), float("nan"), "", 0),
        SignalRecord("S1", 1, "V", "X", Side.BUY, Decimal(1), 0.5, "\ud800", 0),
        SignalRecord("S1", 1, "V", "X", Side.BUY, Decimal(1), 0.5, None, 0),
    ],
    ids=["beyond 64 bits", "NaN", "NaN with a payload", "infinity", "NaN float", "lone surrogate", "None"],
)
def test_an_unstorable_value_rolls_back_the_whole_write(writer, reading, record):
    with pytest.raises(DatabaseError) as caught:
        writer.write([make_ticks(make_table(), 1, 10)], [record])
    assert caught.value.cause is Cause.UNSTORABLE
    assert sum(count_rows(reading, SESSION).values()) == 0
    assert writer.write([make_ticks(make_table(), 1, 10)], []) == 10


def test_the_sparse_index_covers_every_tick_with_few_rows(writer, reading):
    table = make_table()
    for first in range(1, 20_001, 100):
        writer.write([make_ticks(table, first, 50), make_ticks(table, first + 50, 50)], [])
    found = rows(reading, "SELECT first_seq, last_seq, count, min_ts_event, max_ts_event FROM tick_batches")
    assert len(found) == 5
    assert sum(count for _, _, count, _, _ in found) == count_ticks(reading, SESSION) == count_ticks(reading) == 20_000
    for (first, last, count, start, end), (following, *_) in zip(found, [*found[1:], (20_001,)], strict=True):
        assert (last + 1, count) == (following, last - first + 1)
        assert (start, end) == (START_NS + first * 10**6, START_NS + last * 10**6)
        assert count >= TICKS_PER_BATCH_ROW or last == 20_000


def test_sessions_share_instruments_but_not_rules(writing, writer, reading):
    table = make_table("A", "B")
    writer.write([make_ticks(table, 1, 2)], [])
    SessionStore(writing).start(session_start("20260102T030405Z-00000002"))
    again = InstrumentTable()
    again.add(Instrument("SYNTHETIC", "B", min_qty=Decimal("0.5")))
    again.add(Instrument("SYNTHETIC", "A", price_scale=2))
    with SessionWriter(writing, "20260102T030405Z-00000002") as second:
        second.write([make_ticks(again, 1, 2)], [])
    assert rows(reading, "SELECT symbol, price_scale FROM instruments ORDER BY instrument_no") == [
        ("A", 9), ("B", 9), ("A", 2),
    ]  # fmt: skip
    assert rows(reading, "SELECT session_no, n, instrument_no FROM session_instruments ORDER BY 1, 2") == [
        (1, 0, 1), (1, 1, 2), (2, 0, 2), (2, 1, 3),
    ]  # fmt: skip


def test_two_sessions_write_to_one_database(writing, writer, reading):
    SessionStore(writing).start(session_start("20260102T030405Z-00000002"))
    with SessionWriter(writing, "20260102T030405Z-00000002") as second:
        for part in range(5):
            writer.write([make_ticks(make_table(), 1 + 10 * part, 10)], make_order_records(part + 1))
            second.write([make_ticks(make_table(), 1 + 10 * part, 10)], make_order_records(part + 1))
        assert writer.written == second.written
        assert count_rows(reading, SESSION) == count_rows(reading, "20260102T030405Z-00000002") == writer.written


def test_an_unstarted_session_cannot_be_written(writing):
    with pytest.raises(StorageError, match="expected a started session, got no row for 20260102T030405Z-99999999"):
        SessionWriter(writing, "20260102T030405Z-99999999")


def test_closing_twice_is_fine(writing):
    writer = SessionWriter(writing, SESSION)
    writer.close()
    writer.close()
