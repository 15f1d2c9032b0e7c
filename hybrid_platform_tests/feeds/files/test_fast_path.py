"""The fast path gives the same result as the row-by-row definition, or none: for good rows, garbage and mixtures."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.feeds.base import FeedBatch
from hybrid_platform.feeds.files import blocks
from hybrid_platform.feeds.files.blocks import Block, parse_block, parse_rows
from hybrid_platform.feeds.files.columns import SymbolInterner, TickParser
from hybrid_platform.feeds.files.formats.csv import CsvBlock
from hybrid_platform.feeds.files.formats.jsonl import json_blocks
from hybrid_platform.feeds.files.formats.parquet import ParquetBlock, _prepare_column
from hybrid_platform.feeds.files.layouts import Layout
from hybrid_platform.feeds.files.lines import Lines
from hybrid_platform.settings.feeds import Columns

FIELDS = ("ts", "price", "size", "symbol", "trade_id", "side", "ts_recv")
STATED = {
    ("X", "FINE"): Instrument("X", "FINE", price_scale=12, size_scale=10),
    ("X", "COARSE"): Instrument("X", "COARSE", price_scale=2, size_scale=0),
}


def parser(unit: str = "ms", fields: tuple[str, ...] = FIELDS, ask: bool = False, **more: Any) -> TickParser:
    columns = Columns(**{name: at for at, name in enumerate(fields)})
    layout = Layout("columns", "", columns, ts_unit=unit, ask=len(fields) if ask else None, **more)
    return TickParser(layout, date(2024, 3, 10), "DEFAULT", SymbolInterner(InstrumentTable(STATED), "X"))


def rows_with_symbols(ticks: TickBatch) -> list[tuple[Any, ...]]:
    return [(ticks.table[row[1]].symbol, *row[2:]) for row in ticks.rows()]


def flat(batches: list[FeedBatch]) -> tuple[list[tuple[Any, ...]], Counter[str], int]:
    rejected: Counter[str] = Counter()
    for batch in batches:
        rejected.update(batch.rejected)
        assert batch.received == len(batch.ticks) + sum(batch.rejected.values())
    return (
        [row for batch in batches for row in rows_with_symbols(batch.ticks)],
        rejected,
        sum(b.received for b in batches),
    )


def assert_same_both_ways(block: Block, **more: Any) -> None:
    fast, slow = list(parse_block(block, parser(**more), "f")), parse_rows(block, parser(**more), "f")
    rows, rejected, received = flat(fast)
    expected, expected_rejected, expected_received = flat([slow])
    # A mixed column of ids is text in a whole batch, but may be integers in the halves of a split one.
    assert [as_text(row) for row in rows] == [as_text(row) for row in expected]
    assert (rejected, received) == (expected_rejected, expected_received)
    if len(fast) == 1 and fast[0].ticks.trade_ref is not None and slow.ticks.trade_ref is not None:
        assert fast[0].ticks.trade_ref.dtype == slow.ticks.trade_ref.dtype


def as_text(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*row[:4], None if row[4] is None else str(row[4]), *row[5:])


T0 = 1_700_000_000_000
plain_number = st.decimals(min_value=0, max_value=10**9, places=4).map(lambda d: format(d, "f"))
ODD_NUMBERS = [
    *["0", "-0", "-0.0", "+1", "1.", ".5", "1e5", "1E5", "1e+5", "1e05", "1e0000000000005", "1e-9", "1e-10", "5E-3"],
    *["10e-10", "0" * 50 + "1", "0" * 60, "1." + "0" * 20, "1." + "0" * 60, "1_0", " 1", "1\t", "0x10", "nan", "1e-39"],
    *["inf", "-", "", "e5", "1e", "1e999", "0e999", "0e-999", "1e-2000000000", "1e2000000000", "1e28", "9e29", "-1"],
    *["9" * 38, "9" * 39, "1.2.3", "1 2", "+ 1", "١", "9223372036.854775807", "9223372036.854775808", "1.0000000001"],
    *["340282366920938463463374607431.8", "18446744073.709551616", "true", "1,5", '"1"', '"1', "1\0", "1.255", "1\x0b"],
    *[
        "-18446744073.709551615",
        "18446744073.709551615",
        "-9223372036.854775808",
        "1e9",
        "00",
        "1" * 41,
        "0.1234567891",
    ],
]
odd_number = st.one_of(
    st.sampled_from(ODD_NUMBERS),
    st.from_regex(r"[+-]?0{0,3}[0-9]{0,25}\.?[0-9]{0,15}([eE][+-]?[0-9]{1,4})?", fullmatch=True),
)
number = st.one_of(plain_number, odd_number)
millis = st.integers(T0 - 10**9, T0 + 10**9).map(str)
time_text = st.one_of(millis, st.builds("{}.{}".format, millis, st.integers(0, 10**7)), odd_number)
ODD_SYMBOLS = [
    "SPY",
    "spy",
    " SPY",
    "BTC/USD",
    "FINE",
    "COARSE",
    "",
    "'; DROP",
    "ＳＰＹ",
    "é",
    "A" * 33,
    '"SPY"',
    '"S""P"',
]
symbol = st.one_of(st.sampled_from(ODD_SYMBOLS), st.from_regex(r"[A-Za-z0-9._/:-]{1,8}", fullmatch=True))
ODD_IDS = [
    *["", "0", "-0", "007", "+5", " 5", "5 ", "a-b", "9223372036854775807", "9223372036854775808", "x" * 65, "x" * 64],
    *["-9223372036854775808", "-9223372036854775809", '"abc"', "a b", "é", "1e-5", "0x1"],
]
trade_id = st.one_of(st.sampled_from(ODD_IDS), st.integers(-(2**63), 2**64).map(str))
SIDES = ["", "buy", "SELL", " b", "s", "1", "-1", "0", "true", "False", "unknown", "x", "2", '"buy"']
side = st.sampled_from(SIDES)
good = st.tuples(
    millis,
    plain_number,
    plain_number,
    st.sampled_from(["SPY", "FINE", "COARSE"]),
    st.integers(0, 10**12).map(str),
    side.filter(lambda s: s not in "x2"),
    millis,
)
odd = st.tuples(time_text, number, number, symbol, trade_id, side, time_text)
row = st.one_of(good, good, odd)
line = st.one_of(row.map(",".join), st.sampled_from(["", " ", ",", "a,b", "é" * 3, "x" * 300]), st.text(max_size=20))


def csv_block(data: bytes, *widths: int) -> CsvBlock:
    """A block of whole lines whose first columns are the fields; ``widths``: how many columns a row may have."""
    return CsvBlock(Lines(1, data, data.count(b"\n")), range(min(7, *widths)), widths.__contains__)


def join_lines(lines: list[str]) -> bytes:
    return b"".join(item.replace("\n", "").replace("\r", "").encode("utf-8", "surrogatepass") + b"\n" for item in lines)


@pytest.mark.scenario("S5")
@settings(max_examples=100, deadline=None)
@given(st.lists(line, min_size=1, max_size=8))
def test_csv_rows_parse_alike(lines: list[str]) -> None:
    assert_same_both_ways(csv_block(join_lines(lines), 7))


@pytest.mark.scenario("S5")
@pytest.mark.parametrize("symbol", ["SPY", "FINE", "COARSE"])
def test_one_unusual_cell_parses_alike(symbol: str) -> None:
    good = (str(T0), "1.25", "3", symbol, "17", "buy", str(T0))
    pools = {0: ODD_NUMBERS, 1: ODD_NUMBERS, 2: ODD_NUMBERS, 3: ODD_SYMBOLS, 4: ODD_IDS, 5: SIDES, 6: ODD_NUMBERS}
    for at, pool in pools.items():
        for cell in [*pool, str(T0 * 1000), str(T0 * 10**6), f"{T0}.5", f" {T0} "]:
            bad = ",".join((*good[:at], cell, *good[at + 1 :]))
            for lines in ([bad], [",".join(good), bad]):
                assert_same_both_ways(csv_block(join_lines(lines), 7, 8))


def test_one_unusual_line_parses_alike() -> None:
    good = f"{T0},1.25,3,SPY,17,buy,{T0},rest".encode()
    for odd_line in (
        b"",
        b" ",
        b"\t",
        b",",
        good + b",",
        good[:-5],
        good + b"\xff",
        good + b'"',
        good + b'"a,b"',
        good + b"\0",
        good + b"\x0c",
    ):
        assert_same_both_ways(csv_block(b"\n".join([good, odd_line, good, b""]), 7, 8, 9))


def test_midpoints_of_quotes_parse_alike() -> None:
    for bid, ask in [
        ("1.000000001", "1.000000002"),
        ("1.000000001", "1.000000003"),
        ("9e9", "9e9"),
        ("2", "1"),
        ("1", "1"),
    ]:
        data = join_lines([f"1,{bid},{ask}"])
        more = {"fields": ("ts", "price"), "ask": True, "zone": "UTC"}
        assert_same_both_ways(csv_block(data, 3), **more)


@settings(max_examples=100, deadline=None)
@given(st.lists(row, min_size=1, max_size=5), st.sampled_from(["s", "ms", "us", "ns", "ms_or_us", "iso"]))
def test_times_in_every_unit_parse_alike(rows: list[tuple[str, ...]], unit: str) -> None:
    data = join_lines([",".join(item) for item in rows])
    assert_same_both_ways(csv_block(data, 7, 8), unit=unit)


iso = st.one_of(
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.from_regex(
        r"20\d\d-[01]\d-[0-3]\d([T ][0-2]\d(:[0-6]\d(:[0-6]\d(\.\d{0,10})?)?)?(Z|[+-][0-2]\d:?[0-6]\d|[+-]\d\d)?)?",
        fullmatch=True,
    ),
    st.sampled_from(
        ["2024-01-01 ", "2024-02-30", "20240101", "2024-01-01t00:00:00z", "2024-01-01T00:00:00 Z", "9999-12-31", ""]
    ),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(iso, min_size=1, max_size=3), st.sampled_from(["", "Z", "+00:30"]))
def test_iso_times_parse_alike(times: list[str], ending: str) -> None:
    data = join_lines([f"{item}{ending},1" for item in times])
    assert_same_both_ways(csv_block(data, 2), unit="iso", fields=("ts", "price"))


of_day = st.one_of(st.decimals(-1, 86_400_001, places=4).map(str), odd_number)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(of_day, number, number), min_size=1, max_size=4), st.sampled_from([0, 4]))
def test_times_of_day_parse_alike_when_clocks_change(rows: list[tuple[str, ...]], shift: int) -> None:
    data = join_lines([",".join(item) for item in rows])
    more = {"fields": ("ts", "price"), "ask": True, "zone": "America/New_York", "price_shift": shift}
    assert_same_both_ways(csv_block(data, 3), **more)


json_cell = st.one_of(
    number,
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none(),
    st.booleans(),
    st.just([]),
)
json_good = st.fixed_dictionaries(
    {
        "ts": st.integers(T0, T0 + 9),
        "price": st.floats(1, 9).map(lambda x: round(x, 4)),
        "size": plain_number,
        "symbol": st.just("SPY"),
    },
    optional={"trade_id": st.integers(0, 9), "side": st.one_of(st.none(), st.booleans()), "ts_recv": st.just(T0)},
)
json_odd = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, json_cell))


@pytest.mark.scenario("S5")
@settings(max_examples=80, deadline=None)
@given(st.lists(st.one_of(json_good, json_good, json_odd), min_size=1, max_size=6))
def test_json_rows_parse_alike(objects: list[dict[str, Any]]) -> None:
    data = "".join(json.dumps(item) + "\n" for item in objects).encode()
    for fields in (FIELDS, FIELDS[:6]):
        for block in json_blocks(Lines(1, data, len(objects)), fields):
            assert_same_both_ways(block, fields=fields)


arrow_number = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3).map(lambda v: pa.array(v, pa.int64())),
    st.lists(st.integers(T0, T0 + 99), min_size=3, max_size=3).map(lambda v: pa.array(v, pa.uint64())),
    st.lists(st.floats(), min_size=3, max_size=3).map(pa.array),
    st.lists(st.floats(0.001, 1e6).map(lambda x: round(x, 5)), min_size=3, max_size=3).map(pa.array),
    st.lists(st.floats(width=32), min_size=3, max_size=3).map(lambda v: pa.array(v, pa.float32())),
    st.lists(st.decimals(-(10**9), 10**9, places=12), min_size=3, max_size=3).map(
        lambda v: pa.array(v, pa.decimal128(30, 12))
    ),
    st.lists(st.one_of(st.none(), number), min_size=3, max_size=3).map(lambda v: pa.array(v, pa.string())),
    st.just(pa.array([T0] * 3, pa.timestamp("ms"))),
    st.just(pa.array([True] * 3)),
)


@pytest.mark.scenario("S5")
@settings(max_examples=100, deadline=None)
@given(arrow_number, arrow_number, arrow_number)
def test_parquet_rows_parse_alike(ts: Any, price: Any, size: Any) -> None:
    fields = ("ts", "price", "size")
    columns = [_prepare_column(column, field) for column, field in zip((ts, price, size), fields, strict=True)]
    assert_same_both_ways(ParquetBlock(columns, 1), fields=fields)


def test_ordinary_rows_take_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "parse_rows", lambda *_: pytest.fail("the slow path"))
    data = join_lines([f"{T0 + k},1.{k % 10},{k},SPY,{k},buy,{T0}.5" for k in range(2_000)])
    block = csv_block(data, 7)
    [batch] = parse_block(block, parser(), "f")
    assert len(batch.ticks) == 2_000
    assert batch.ticks.trade_ref is not None and batch.ticks.trade_ref.dtype == np.int64


def test_a_large_block_is_halved_around_a_bad_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a few hundred rows are parsed one by one."""
    looked_at: list[int] = []
    by_row = blocks.parse_rows
    monkeypatch.setattr(blocks, "parse_rows", lambda block, *rest: looked_at.append(len(block)) or by_row(block, *rest))
    lines = [f"{T0 + k},1,1,SPY,,," + str(T0) for k in range(50_000)]
    lines[49_337] = "garbage"
    # A line longer than all others together must not stop the halving.
    lines[-1] += " " * 400_000
    block = csv_block(join_lines(lines), 7)
    batches = list(parse_block(block, parser(), "t"))
    assert sum(len(batch.ticks) for batch in batches) == 49_999
    assert [sample.where for batch in batches for sample in batch.samples] == ["t:49338"]
    assert sum(looked_at) < 1_000


def test_scales_of_configured_instruments_parse_alike() -> None:
    data = join_lines([f"{T0},1.25,3,FINE,,,{T0}", f"{T0},1.25,3,COARSE,,,{T0}", f"{T0},1.25,3,SPY,,,{T0}"])
    block = csv_block(data, 7)
    [batch] = parse_block(block, parser(), "t")
    assert [(tick.price, tick.size) for tick in batch.ticks.ticks()] == [(Decimal("1.25"), Decimal(3))] * 3
    assert batch.ticks.price.tolist() == [1_250_000_000_000, 125, 1_250_000_000]
    assert_same_both_ways(csv_block(join_lines([f"{T0},1.255,3,COARSE,,,{T0}"]), 7))
