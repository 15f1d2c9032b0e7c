"""Bad rows: each is rejected with its cause and line, and the good rows around it are kept (S5)."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from hybrid_platform_tests.feeds.support import COLUMNS, HEADER, T0, csv_text, good_rows, replay

ARABIC = "١٢٣"

BAD_CSV = {
    # price
    "zero": (f"{T0},0,1,SPY", "bad_price"),
    "negative": (f"{T0},-1,1,SPY", "bad_price"),
    "minus zero": (f"{T0},-0.0,1,SPY", "bad_price"),
    "empty": (f"{T0},,1,SPY", "bad_price"),
    "nan": (f"{T0},nan,1,SPY", "bad_price"),
    "inf": (f"{T0},inf,1,SPY", "bad_price"),
    "1e999": (f"{T0},1e999,1,SPY", "bad_price"),
    "a deep exponent": (f"{T0},1e-2000000000,1,SPY", "bad_price"),
    "underscores": (f"{T0},1_000,1,SPY", "bad_price"),
    "arabic digits": (f"{T0},{ARABIC},1,SPY", "bad_price"),
    "full width": (f"{T0},１,1,SPY", "bad_price"),
    "boolean": (f"{T0},true,1,SPY", "bad_price"),
    "hexadecimal": (f"{T0},0x10,1,SPY", "bad_price"),
    "5,000 digits": (f"{T0},{'9' * 5000},1,SPY", "bad_price"),
    "too fine": (f"{T0},1.0000000001,1,SPY", "price_does_not_fit"),
    "denormal": (f"{T0},5e-324,1,SPY", "bad_price"),
    "2^63 units": (f"{T0},9223372036.854775808,1,SPY", "price_does_not_fit"),
    # size
    "negative size": (f"{T0},1,-1,SPY", "bad_size"),
    "size of 2^63": (f"{T0},1,9223372036854775808,SPY", "size_does_not_fit"),
    "no size": (f"{T0},1,,SPY", "bad_size"),
    # time
    "time 0": ("0,1,1,SPY", "time_out_of_range"),
    "nanoseconds given as milliseconds": (f"{T0}000000,1,1,SPY", "time_out_of_range"),
    "seconds given as milliseconds": (f"{T0 // 1000},1,1,SPY", "time_out_of_range"),
    "the far future": ("4102444800000,1,1,SPY", "time_out_of_range"),
    "negative time": (f"-{T0},1,1,SPY", "time_out_of_range"),
    "no time": (",1,1,SPY", "bad_time"),
    "a word for a time": ("yesterday,1,1,SPY", "bad_time"),
    "a time of 5,000 digits": ("1" * 5000 + ",1,1,SPY", "bad_time"),
    "a time finer than nanoseconds": (f"{T0}.1234567,1,1,SPY", "time_does_not_fit"),
    # symbol
    "sql": (f"{T0},1,1,'; DROP TABLE ticks", "bad_symbol"),
    "html": (f"{T0},1,1,<img onerror=x>", "bad_symbol"),
    "a formula": (f"{T0},1,1,=HYPERLINK(1)", "bad_symbol"),
    "zero width": (f"{T0},1,1,SP\u200bY", "bad_symbol"),
    "bidi": (f"{T0},1,1,SPY\u202e", "bad_symbol"),
    "full width symbol": (f"{T0},1,1,ＳＰＹ", "bad_symbol"),
    "10 KB": (f"{T0},1,1,{'A' * 10_000}", "bad_symbol"),
    "ansi": (f"{T0},1,1,\x1b[31mSPY", "bad_symbol"),
    "no symbol": (f"{T0},1,1,", "bad_symbol"),
    # shape
    "too few cells": (f"{T0},1,1", "bad_columns"),
    "too many cells": (f"{T0},1,1,SPY,", "bad_columns"),
    "a word": ("hello", "bad_columns"),
    "nul": (f"{T0},1,1,S\0PY", "bad_csv"),
    "an unterminated quote": (f'{T0},1,1,"SPY', "bad_csv"),
    "a misplaced quote": (f'{T0},1,1,"SPY"X', "bad_csv"),
    "200 KB": (f"{T0},1,1,{'x' * 200_000}", "bad_symbol"),
    "quoted 200 KB": (f'{T0},1,1,"{"x" * 200_000}"', "bad_csv"),
}


@pytest.mark.scenario("S5")
@pytest.mark.parametrize("case", BAD_CSV)
def test_a_bad_row_is_rejected_with_cause_and_line(tmp_path: Path, case: str) -> None:
    bad, cause = BAD_CSV[case]
    path = tmp_path / "t.csv"
    path.write_bytes(csv_text(*good_rows(700), bad, *good_rows(800, 700)).encode())
    result = replay(path, columns=COLUMNS)
    assert result.rejected == {cause: 1}
    assert [row[5] for row in result.rows] == [(T0 + 1000 * k) * 10**6 for k in range(1_500)]
    [sample] = result.samples
    assert (sample.cause, sample.where) == (cause, "t.csv:702")
    assert sample.sample.isprintable() and sample.sample.isascii() and len(sample.sample) <= 200
    assert result.error is None


@pytest.mark.scenario("S5")
def test_bytes_that_are_not_utf8_affect_their_row_only(tmp_path: Path) -> None:
    rows = [row.encode() for row in good_rows(4)]
    rows[2] = b"1700000000000,1,1,SP\xffY"
    path = tmp_path / "t.csv"
    path.write_bytes(b"\n".join([HEADER.encode(), *rows]))
    result = replay(path, columns=COLUMNS)
    assert (result.count, result.rejected, result.samples[0].where) == (3, {"bad_encoding": 1}, "t.csv:4")


@pytest.mark.scenario("S5")
def test_good_rows_between_bad_ones_are_kept(tmp_path: Path) -> None:
    rows = [row for number, (bad, _) in enumerate(BAD_CSV.values()) for row in (*good_rows(50, 50 * number), bad)]
    path = tmp_path / "t.csv"
    path.write_bytes(csv_text(*rows).encode())
    result = replay(path, columns=COLUMNS)
    assert result.count == 50 * len(BAD_CSV)
    assert result.rejected.total() == len(BAD_CSV)


BAD_JSON = {
    '{"ts": TS, "price": NaN, "size": 1, "symbol": "A"}': "bad_json",
    '{"ts": TS, "price": Infinity, "size": 1, "symbol": "A"}': "bad_json",
    '{"ts": TS, "price": 1e999, "size": 1, "symbol": "A"}': "bad_price",
    '{"ts": TS, "price": 1, "price": 2, "size": 1, "symbol": "A"}': "bad_json",
    '{"ts": TS, "price": 1, "size": 1, "symbol": "A", "x": {"y": 1, "y": 2}}': "bad_json",
    '{"ts": TS, "price": 1, "size": 1, "symbol": "A", "x": ' + "[" * 100_000 + "]" * 100_000 + "}": "bad_json",
    '{"ts": TS, "price": ' + "9" * 5_000 + ', "size": 1, "symbol": "A"}': "bad_price",
    '{"ts": TS, "price": 1e200000, "size": 1, "symbol": "A"}': "bad_price",
    '{"ts": TS, "price": true, "size": 1, "symbol": "A"}': "bad_price",
    '{"ts": TS, "price": 1, "size": false, "symbol": "A"}': "bad_size",
    '{"ts": true, "price": 1, "size": 1, "symbol": "A"}': "bad_time",
    '{"ts": TS, "price": [1], "size": 1, "symbol": "A"}': "bad_price",
    '{"ts": TS, "price": null, "size": 1, "symbol": "A"}': "bad_price",
    '{"ts": TS, "price": 1, "size": 1, "symbol": true}': "bad_symbol",
    '{"ts": TS, "price": 1, "size": 1, "symbol": {}}': "bad_symbol",
    '{"ts": TS, "price": 1, "size": 1, "symbol": "\\ud800"}': "bad_symbol",
    '{"ts": TS, "price": 1, "size": 1}': "bad_symbol",
    '{"ts": TS, "price": 1, "size": 1, "symbol": "A", "side": 7}': "bad_side",
    '{"ts": TS, "price": 1, "size": 1, "symbol": "A", "id": {"a": 1}}': "bad_trade_id",
    '{"ts": TS, "price": 1, "size": 1, "symbol": "A", "id": "a\\nb"}': "bad_trade_id",
    '{"ts": TS, "price": 1, "size": 1, "symbol": "A", "id": "' + "x" * 65 + '"}': "bad_trade_id",
    "[1, 2]": "bad_json",
    "{} {}": "bad_json",
    '{"ts": TS': "bad_json",
    "null": "bad_json",
    "\x00": "bad_json",
}


@pytest.mark.scenario("S5")
@pytest.mark.parametrize("line", BAD_JSON, ids=[line[:60] for line in BAD_JSON])
def test_a_bad_json_line_is_rejected_with_cause_and_line(tmp_path: Path, line: str) -> None:
    good = f'{{"ts": {T0}, "price": 1.5, "size": 1, "symbol": "A", "side": "buy", "id": 5}}'
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join([good, good, line.replace("TS", str(T0)), good]))
    result = replay(path, columns={**COLUMNS, "side": "side", "trade_id": "id"})
    assert (result.count, result.rejected) == (3, {BAD_JSON[line]: 1})
    assert result.samples[0].where == "t.jsonl:3"


@pytest.mark.scenario("S5")
def test_a_line_over_one_mebibyte_is_rejected(tmp_path: Path) -> None:
    """It is never held in memory."""
    path = tmp_path / "t.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(csv_text(*good_rows(5)).encode())
        for _ in range(64):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + "\n".join(good_rows(5, 5)).encode() + b"\n" + b"y" * ((1 << 20) + 5))
    tracemalloc.start()
    result = replay(path, columns=COLUMNS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result.count == 10
    assert result.rejected == {"too_long": 2}
    assert [sample.where for sample in result.samples] == ["t.csv.gz:7", "t.csv.gz:13"]
    assert peak < 12 << 20


@pytest.mark.scenario("S5")
def test_a_gzip_bomb_of_newlines_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(f'{{"ts": {T0}, "price": 1, "size": 1, "symbol": "A"}}'.encode())
        for _ in range(4):
            file.write(b"\n" * (1 << 17) + b"1\n" * 2_500)
    tracemalloc.start()
    result = replay(path, columns=COLUMNS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (result.count, result.rejected) == (1, {"bad_json": 10_000})
    assert peak < 30 << 20


@pytest.mark.scenario("S5")
def test_too_many_symbols_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hybrid_platform.feeds.files.columns.MAX_SYMBOLS", 100)
    path = tmp_path / "t.csv"
    path.write_text(csv_text(*(f"{T0},1,1,S{k}" for k in range(150)), f"{T0},1,1,S7"))
    result = replay(path, columns=COLUMNS)
    assert (result.count, result.rejected) == (101, {"too_many_symbols": 50})


def test_zero_sizes_and_identical_neighbours_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(csv_text(*[f"{T0},1,0,SPY"] * 9))
    assert replay(path, columns=COLUMNS).count == 9


def test_samples_stay_few_when_all_rows_are_bad(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(csv_text(*["x,y,z,w"] * 3_000))
    result = replay(path, columns=COLUMNS)
    assert result.rejected == {"bad_time": 3_000}
    assert len(result.samples) < 60


def bad_quotes() -> dict[str, Any]:
    return {"format": "lean_forex_fxcm_quotes"}


@pytest.mark.scenario("S5")
def test_crossed_quotes_are_rejected_and_locked_ones_kept(tmp_path: Path) -> None:
    path = tmp_path / "20140508_eurusd_tick_quote.csv"
    path.write_text("17007,1.39147,1.39148\n17264,1.39149,1.39148\n17906,1.39148,1.39148\n18000,0,1\n18001,1,x\n")
    result = replay(path, **bad_quotes())
    assert result.prices == ["1.391475", "1.39148"]
    assert result.rejected == {"crossed": 1, "bad_price": 2}
    assert result.samples[0].where == "20140508_eurusd_tick_quote.csv:2"
