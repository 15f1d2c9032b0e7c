"""Reading a finished session back: instruments, ticks in batches, records."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import numpy as np
import pytest

from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.domain.orders import Side, SignalRecord, TradeRecord
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.errors import Cause, DatabaseError
from hybrid_platform.storage.reader import read_instruments, read_records, read_tick_batches
from hybrid_platform.storage.sessions import SessionStore
from hybrid_platform_tests.storage.conftest import SESSION
from hybrid_platform_tests.storage.samples import make_table, make_ticks


@pytest.mark.scenario("S8")
@pytest.mark.parametrize("ticks_at_once", [1, 999, 100_000])
def test_a_finished_session_is_read_back_unchanged(finished, ticks_at_once):
    table = InstrumentTable()
    batches = read_tick_batches(finished, SESSION, table, ticks_at_once=ticks_at_once)
    read = 0
    for batch in batches:
        assert 0 < len(batch) <= ticks_at_once
        expected = make_ticks(make_table("A", "B"), 1 + read, len(batch))
        for column in ("seq", "instrument", "price", "size", "side", "ts_event", "ts_recv"):
            assert np.array_equal(getattr(batch, column), getattr(expected, column))
            assert getattr(batch, column).dtype == getattr(expected, column).dtype
        assert batch.trade_ref is None
        read += len(batch)
        if read >= min(2_000, 100 * ticks_at_once):
            break
    assert [item.symbol for item in table] == ["A", "B"]


def test_a_running_or_unknown_session_is_not_replayed(writing, reading):
    for session_id, expected in ((SESSION, "a session that has ended, got .* RUNNING"), ("x", "the id of a session")):
        with pytest.raises(ConfigError, match=expected):
            next(read_tick_batches(reading, session_id, InstrumentTable()))


def test_gaps_in_the_numbering_are_preserved(writing, writer, reading):
    writer.write([make_ticks(make_table(), 1, 10)[np.array([0, 1, 5, 9])]], [])
    SessionStore(writing).mark_crashed(lambda session: True)
    (batch,) = read_tick_batches(reading, SESSION, InstrumentTable())
    assert batch.seq.tolist() == [1, 2, 6, 10]


def test_instruments_come_back_with_their_rules(writing, writer, reading):
    stated = Instrument("V", "X/USD", "X", "USD", 2, 0, Decimal("0.01"), min_qty=Decimal("1.50"), inferred=False)
    table = InstrumentTable()
    table.add(stated)
    writer.write([make_ticks(table, 1, 1)], [])
    SessionStore(writing).mark_crashed(lambda session: True)
    assert read_instruments(reading, SESSION) == [stated]
    fresh = InstrumentTable()
    next(read_tick_batches(reading, SESSION, fresh))
    assert fresh[0] == stated
    other_rules = InstrumentTable({stated.key: msgspec.structs.replace(stated, min_qty=None)})
    next(read_tick_batches(reading, SESSION, other_rules))
    assert other_rules[0].min_qty is None
    other_scale = InstrumentTable({stated.key: msgspec.structs.replace(stated, price_scale=9)})
    with pytest.raises(ConfigError, match="X/USD at V: expected the scales of the stored ticks, 2 and 0, got 9 and 0"):
        next(read_tick_batches(reading, SESSION, other_scale))


@pytest.mark.parametrize(
    ("change", "message"),
    [("side = 'LONG'", "n 7: Invalid enum value 'LONG'"), ("fees = 'much'", "expected a decimal number")],
)
def test_a_tampered_row_is_reported(finished, writing, change, message):
    with transaction(writing, "tampering") as connection:
        connection.exec_driver_sql(f"UPDATE trade_rows SET {change} WHERE n = 7")
    with pytest.raises(DatabaseError, match=message) as caught:
        list(read_records(finished, SESSION, TradeRecord))
    assert caught.value.cause is Cause.CORRUPT


def test_signals_are_read_in_their_original_order(writing, writer, reading):
    made = [SignalRecord(f"S7.{k}", 7, "V", "X", Side.BUY, Decimal(1), 0.5, "", 0) for k in range(1, 13)]
    writer.write([], made[:5])
    writer.write([], made[5:])
    assert list(read_records(reading, SESSION, SignalRecord)) == made
