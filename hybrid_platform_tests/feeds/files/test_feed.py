"""Replay of whole files: all supported kinds, refused files, and damaged or truncated ones."""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.feeds.files import FileFeed
from hybrid_platform_tests.feeds.support import COLUMNS, HEADER, T0, csv_text, good_rows, read, replay, replay_settings

TEXT = csv_text(*good_rows(1_000))
OBJECTS = [
    {"ts": T0 + 1000 * k, "price": 100 + k % 7 + 0.25, "size": str(1 + k % 3), "symbol": "SPY"} for k in range(1_000)
]
JSONL = "".join(json.dumps(item) + "\n" for item in OBJECTS)


def write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def zipped(members: dict[str, str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=300)
    return path


EXPECTED = [
    ("SPY", (100 + k % 7) * 10**9 + 250_000_000, (1 + k % 3) * 10**9, 0, None, *[(T0 + 1000 * k) * 10**6] * 2)
    for k in range(1_000)
]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", TEXT.encode()),
        ("t.csv.gz", gzip.compress(TEXT.encode())),
        ("two-members.csv.gz", gzip.compress(TEXT.encode()[:5_000]) + gzip.compress(TEXT.encode()[5_000:]) + b"\0" * 9),
        ("misnamed.dat", gzip.compress(TEXT.encode())),
        ("t.jsonl", JSONL.encode()),
        ("t.jsonl.gz", gzip.compress(JSONL.encode())),
        ("t.zip", zipped({"a.csv": TEXT})),
        ("stored.zip", zipped({"a.csv": TEXT}, zipfile.ZIP_STORED)),
        ("crlf.csv", TEXT.replace("\n", "\r\n").encode()),
        ("old-mac.csv", TEXT.replace("\n", "\r").encode()),
        ("bom.csv", b"\xef\xbb\xbf" + TEXT.encode()),
        ("no-last-newline.csv", TEXT.rstrip().encode()),
        ("blank-lines.csv", TEXT.replace("\n", "\n\n").encode()),
        ("quoted.csv", TEXT.replace("SPY", '"SPY"').encode()),
        ("padded.csv", TEXT.replace(",", ", ").replace("ts, price, size, symbol", HEADER).encode()),
        ("lower.csv", TEXT.replace("SPY", "spy").encode()),
    ],
)
def test_all_containers_and_line_ends_give_the_same_ticks(tmp_path: Path, name: str, data: bytes) -> None:
    result = replay(write(tmp_path / name, data), columns=COLUMNS)
    assert result.rows == EXPECTED
    assert not result.rejected and result.error is None


@pytest.mark.parametrize(
    "columns",
    [
        {"ts": [T0 + 1000 * k for k in range(1_000)], "price": [100.25 + k % 7 for k in range(1_000)]},
        {
            "ts": pa.array([T0 + 1000 * k for k in range(1_000)], pa.timestamp("ms", "America/New_York")),
            "price": pa.array([f"{100 + k % 7}.25" for k in range(1_000)]).cast(pa.decimal128(12, 2)),
        },
        {
            "ts": pa.array([(T0 + 1000 * k) * 10**6 for k in range(1_000)], pa.timestamp("ns")),
            "price": [f"{100 + k % 7}.2500" for k in range(1_000)],
        },
        {
            "ts": [float(T0 + 1000 * k) for k in range(1_000)],
            "price": pa.array([100.25 + k % 7 for k in range(1_000)], pa.float32()),
        },
    ],
    ids=["integers and floats", "timestamps and decimals", "nanoseconds and text", "floats"],
)
def test_parquet_columns_of_any_sensible_type_are_exact(tmp_path: Path, columns: dict[str, Any]) -> None:
    path = parquet(
        tmp_path / "t.parquet",
        **columns,
        size=pa.array([1 + k % 3 for k in range(1_000)], pa.int8()),
        symbol=pa.array(["SPY"] * 1_000).dictionary_encode(),
    )
    assert replay(path, columns=COLUMNS).rows == EXPECTED


def test_parquet_floats_count_by_their_shortest_form(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", ts=[T0] * 4, price=[0.1, 1e-7, 61837.63, 0.1 + 0.2])
    result = replay(path, columns={"ts": "ts", "price": "price"}, symbol="A")
    assert [row[1] for row in result.rows] == [100_000_000, 100, 61_837_630_000_000]
    assert result.rejected == {"price_does_not_fit": 1}  # 0.30000000000000004
    assert result.samples[0].where == "t.parquet:4"


def test_parquet_nulls_and_bad_values_are_rejected_by_row(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "t.parquet",
        ts=[T0, None, T0, T0, T0],
        price=[1.5, 1.5, float("nan"), float("inf"), None],
        side=[True, False, None, True, True],
    )
    result = replay(path, columns={"ts": "ts", "price": "price", "side": "side"}, symbol="A")
    assert [row[3] for row in result.rows] == [-1]
    assert result.rejected == {"bad_time": 1, "bad_price": 3}


def test_columns_by_position_need_no_header(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "\n".join(good_rows(5)))
    result = replay(path, columns={"ts": 0, "price": 1, "size": 2, "symbol": 3})
    assert result.rows == EXPECTED[:5]


def test_every_unit_of_time_is_understood(tmp_path: Path) -> None:
    for unit, text in {
        "s": "1700000000.123456789",
        "ms": "1700000000123.456789",
        "us": "1700000000123456.789",
        "ns": "1700000000123456789",
        "iso": "2023-11-14T22:13:20.123456789Z",
    }.items():
        path = write(tmp_path / f"{unit}.csv", f"ts,price\n{text},1\n")
        result = replay(path, columns={"ts": "ts", "price": "price"}, ts_unit=unit, symbol="A")
        assert [row[5] for row in result.rows] == [1_700_000_000_123_456_789], unit


def test_iso_times_with_and_without_offsets(tmp_path: Path) -> None:
    times = [
        "2024-03-01 12:00:00",
        "2024-03-01T12:00:00Z",
        "2024-03-01T07:00:00-05:00",
        "2024-03-01T17:30+0530",
        "2024-03-01",
    ]
    path = write(tmp_path / "t.csv", "ts,price\n" + "".join(f"{item},1\n" for item in times))
    result = replay(path, columns={"ts": "ts", "price": "price"}, ts_unit="iso", symbol="A")
    noon = 1_709_294_400 * 10**9
    assert [row[5] for row in result.rows] == [noon, noon, noon, noon, noon - 43_200 * 10**9]


def test_sides_ids_and_receive_times(tmp_path: Path) -> None:
    header = "ts,price,side,trade_id,ts_recv"
    rows = ["BUY,7", "s,007", "1,", "-1,9223372036854775808", "true,a-b", "False,-3", "unknown,12", ",0"]
    path = write(tmp_path / "t.csv", csv_text(*(f"{T0},1,{row},{T0 + 5}000" for row in rows), header=header))
    columns = {name: name for name in header.split(",")}
    result = replay(path, columns=columns, recv_unit="us", symbol="A")
    assert [row[3] for row in result.rows] == [1, -1, 1, -1, -1, 1, 0, 0]
    assert [row[4] for row in result.rows] == ["7", "007", None, "9223372036854775808", "a-b", "-3", "12", "0"]
    assert {row[6] - row[5] for row in result.rows} == {5_000_000}


def test_integer_ids_stay_integers_and_missing_ids_are_none(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", f"ts,price,id\n{T0},1,5\n{T0},1,6\n")
    assert [
        row[4] for row in replay(path, columns={"ts": "ts", "price": "price", "trade_id": "id"}, symbol="A").rows
    ] == [5, 6]
    path = write(tmp_path / "t.csv", f"ts,price,id\n{T0},1,\n{T0},1,\n")
    result = replay(path, columns={"ts": "ts", "price": "price", "trade_id": "id"}, symbol="A")
    assert result.batches[0].ticks.trade_ref is None


def test_json_numbers_are_exact_and_sides_may_be_booleans(tmp_path: Path) -> None:
    lines = [
        f'{{"ts": {T0}, "price": 0.1, "size": "1e-5", "symbol": "a", "side": true, "id": 12345678901234567890}}',
        f'{{"id": null, "side": null, "symbol": "A", "size": 0, "price": "61837.630000001", "ts": "{T0}"}}',
        f'{{"symbol": "A", "size": 0.30000000000000001, "price": 3, "ts": {T0}}}',
    ]
    columns = {**COLUMNS, "trade_id": "id", "side": "side"}
    result = replay(write(tmp_path / "t.jsonl", "\n".join(lines)), columns=columns)
    assert [row[:5] for row in result.rows] == [
        ("A", 100_000_000, 10_000, -1, "12345678901234567890"),
        ("A", 61_837_630_000_001, 0, 0, None),
    ]
    assert result.rejected == {"size_does_not_fit": 1}


def test_a_listed_glob_is_replayed_in_order_of_names(tmp_path: Path) -> None:
    for name, first in (("b.csv", 0), ("a.csv", 10)):
        write(tmp_path / name, csv_text(*good_rows(10, first)))
    result = replay(str(tmp_path / "*.csv"), columns=COLUMNS, order="listed")
    assert [row[5] for row in result.rows] == [(T0 + 1000 * k) * 10**6 for k in [*range(10, 20), *range(10)]]


def test_a_file_named_like_a_pattern_is_found(tmp_path: Path) -> None:
    write(tmp_path / "t1.csv", csv_text(*good_rows(9)))
    assert replay(write(tmp_path / "t[1].csv", csv_text(*good_rows(2))), columns=COLUMNS).count == 2


def test_limit_counts_accepted_ticks(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", csv_text("bad,bad,bad,bad", *good_rows(9_000)))
    result = replay(path, columns=COLUMNS, limit=5_000)
    assert result.count == 5_000
    assert result.received == 5_000 + sum(result.rejected.values())


# --- files refused before anything starts -------------------------------------------------------


@pytest.mark.parametrize(
    "make", ["missing", "directory", "fifo", "device", "glob", "nul", "long", "empty name", "dangling"]
)
def test_irregular_files_are_refused(tmp_path: Path, make: str) -> None:
    path = str(tmp_path / "x.csv")
    expected = "an existing file"
    if make == "directory":
        path, expected = str(tmp_path), "a regular file, got a directory"
    elif make == "fifo":
        os.mkfifo(path)
        expected = "a regular file, got a FIFO"
    elif make == "device":
        path, expected = "/dev/full", "a regular file, got a device"
    elif make == "glob":
        path, expected = str(tmp_path / "*.csv"), "a pattern that matches a file"
    elif make == "nul":
        path, expected = "a\0b", "a readable file"
    elif make == "long":
        path, expected = "x" * 5_000, "a readable file"
    elif make == "empty name":
        path = ""
    elif make == "dangling":
        Path(path).symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError) as caught:
        replay(path, columns=COLUMNS)
    message = str(caught.value)
    assert message.startswith(f"feed.replay.path: expected {expected}")
    assert "\n" not in message and "\0" not in message


def test_every_wrong_path_is_named_at_once(tmp_path: Path) -> None:
    good = write(tmp_path / "good.csv", TEXT)
    with pytest.raises(ConfigError) as caught:
        replay([good, tmp_path / "a", tmp_path, good], columns=COLUMNS)
    assert [fault.expected for fault in caught.value.faults] == ["an existing file", "a regular file", "each file once"]


def test_unreadable_paths_are_refused(tmp_path: Path) -> None:
    """A directory and a file without read permission."""
    path = write(tmp_path / "t.csv", TEXT)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads everything")
    with pytest.raises(ConfigError, match="a readable file, got Permission denied"):
        replay(path, columns=COLUMNS)


@pytest.mark.parametrize(
    ("data", "settings", "expected"),
    [
        (
            TEXT,
            {"columns": {**COLUMNS, "price": "px"}},
            "feed.replay.columns.price: expected one of: ts, price, size, symbol",
        ),
        (
            TEXT,
            {"columns": {"ts": 0, "price": 9}, "symbol": "A"},
            "feed.replay.columns: expected rows of at least 10 columns",
        ),
        (
            TEXT.replace("size", "price", 1),
            {"columns": {"ts": "ts", "price": "price"}, "symbol": "A"},
            "feed.replay.columns.price: expected one column only",
        ),
        (TEXT, {"columns": {"ts": "ts", "price": "price"}}, "feed.replay.symbol: expected a symbol"),
        (TEXT, {"format": "us_equity"}, "feed.replay.format us_equity.ts: expected one of"),
        (TEXT, {"format": "nonsense"}, "feed.replay.format: expected one of us_equity, binance_capture"),
        (TEXT, {}, "feed.replay.format: expected `columns`, or one of us_equity"),
        (
            JSONL,
            {"columns": {**COLUMNS, "price": "px"}},
            "feed.replay.columns.price: expected one of: ts, price, size, symbol",
        ),
        (
            JSONL,
            {"columns": {"ts": 0, "price": 1}, "symbol": "A"},
            "feed.replay.columns.ts: expected a key, got position 0",
        ),
        (TEXT.encode("utf-16"), {"columns": COLUMNS}, "feed.replay.path: expected UTF-8 text, got UTF-16"),
        (TEXT.encode("utf-16-le"), {"columns": COLUMNS}, "feed.replay.path: expected UTF-8 text, got UTF-16 or binary"),
        (
            b"BZh91AY&SY",
            {"columns": COLUMNS},
            "feed.replay.path: expected CSV, JSONL (plain, gzip or zip) or Parquet, got bzip2",
        ),
        (
            b"\x28\xb5\x2f\xfd...",
            {"columns": COLUMNS},
            "feed.replay.path: expected CSV, JSONL (plain, gzip or zip) or Parquet, got zstandard",
        ),
        (
            zipped({"sheet.xml": "<x/>"}),
            {"columns": COLUMNS},
            "feed.replay.path: expected a zip with a CSV or JSONL member",
        ),
        (
            zipped({"a.csv": TEXT}, zipfile.ZIP_BZIP2),
            {"columns": COLUMNS},
            "feed.replay.path: expected stored or deflated zip members",
        ),
        (b"x" * 1_200_000, {"columns": COLUMNS}, "feed.replay.path: expected a first line of at most 1 MiB"),
    ],
)
def test_a_file_that_contradicts_the_settings_is_refused(
    tmp_path: Path, data: bytes | str, settings: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        replay(write(tmp_path / "t.dat", data), **settings)
    assert str(caught.value).startswith(expected)
    assert str(caught.value).count("\n") == len(caught.value.faults) - 1, "one line each"


def test_a_parquet_column_that_is_a_list_is_a_config_error(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", ts=[T0], price=[[1.0]])
    with pytest.raises(ConfigError, match="got `price` of type list"):
        replay(path, columns={"ts": "ts", "price": "price"}, symbol="A")


# --- files without ticks, and damaged files --------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\n\n\n", b"\xef\xbb\xbf", HEADER.encode(), f"{HEADER}\n\n".encode()])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_file_with_only_a_header_ends_without_an_error(tmp_path: Path, data: bytes, compress: Any) -> None:
    """So does an empty file."""
    result = replay(write(tmp_path / "t.csv", compress(data)), columns=COLUMNS)
    assert (result.received, result.error) == (0, None)


def test_empty_files_end_without_an_error(tmp_path: Path) -> None:
    """An empty Parquet file, and an empty file without any format settings."""
    path = parquet(tmp_path / "t.parquet", ts=pa.array([], pa.int64()), price=pa.array([], pa.float64()))
    assert replay(path, columns={"ts": "ts", "price": "price"}, symbol="A").received == 0
    assert replay(write(tmp_path / "t.csv", b"")).received == 0


@pytest.mark.scenario("L4")
@pytest.mark.parametrize("cut", [0.0005, 0.2, 0.5, 0.9, 0.99, 1.0])
def test_a_truncated_gzip_keeps_its_good_rows(tmp_path: Path, cut: float) -> None:
    """It fails after the last complete row."""
    whole = gzip.compress(TEXT.encode())
    path = write(tmp_path / "t.csv.gz", whole[: max(4, int((len(whole) - 4) * cut))])
    result = replay(path, columns=COLUMNS)
    assert result.error is not None and "is truncated" in str(result.error) and "t.csv.gz" in str(result.error)
    assert result.rows == EXPECTED[: result.count]
    assert set(result.rejected) <= {"truncated"} and result.rejected["truncated"] <= 1
    if cut == 1.0:
        assert result.count == 1_000
    elif cut >= 0.5:
        assert result.count > 200


@pytest.mark.scenario("L4")
def test_a_damaged_gzip_keeps_the_rows_before_the_damage(tmp_path: Path) -> None:
    rows = [f"{T0 + k},{100 + (k * 7919) % 1000}.{k % 100:02},{k % 9},SPY" for k in range(20_000)]
    whole = bytearray(gzip.compress(csv_text(*rows).encode()))
    whole[-6] ^= 1  # the checksum
    result = replay(write(tmp_path / "t.csv.gz", bytes(whole)), columns=COLUMNS)
    assert "is damaged" in str(result.error)
    assert result.count == 20_000
    whole[len(whole) // 2] ^= 0xFF
    result = replay(write(tmp_path / "t.csv.gz", bytes(whole)), columns=COLUMNS)
    assert "is damaged" in str(result.error)
    assert 9_000 < result.count < 20_000


def test_garbage_after_gzip_data_fails_after_all_rows(tmp_path: Path) -> None:
    result = replay(write(tmp_path / "t.csv.gz", gzip.compress(TEXT.encode()) + b"garbage"), columns=COLUMNS)
    assert result.rows == EXPECTED
    assert "not gzip" in str(result.error)


def test_a_zip_with_a_wrong_checksum_keeps_its_rows(tmp_path: Path) -> None:
    """It fails after the last row."""
    data = bytearray(zipped({"a.csv": TEXT}, zipfile.ZIP_STORED))
    at = data.index(b"100.25")
    data[at : at + 6] = b"999.75"
    result = replay(write(tmp_path / "t.zip", bytes(data)), columns=COLUMNS)
    assert result.count == 1_000
    assert "checksum is wrong" in str(result.error)


def test_a_damaged_zip_keeps_the_rows_before_the_damage(tmp_path: Path) -> None:
    rows = [f"{T0 + k},{100 + (k * 7919) % 1000}.{k % 100:02},{k % 9},SPY" for k in range(20_000)]
    data = bytearray(zipped({"a.csv": csv_text(*rows)}))
    data[len(data) // 2] ^= 0xFF
    result = replay(write(tmp_path / "t.zip", bytes(data)), columns=COLUMNS)
    assert "is damaged" in str(result.error)
    assert 9_000 < result.count < 20_000


def test_a_zip_member_with_a_damaged_header_is_a_parse_error(tmp_path: Path) -> None:
    """The local header names another file than the directory; other files are still read."""
    bad = write(tmp_path / "t.zip", zipped({"a.csv": TEXT}).replace(b"a.csv", b"b.csv", 1))
    result = replay([bad, write(tmp_path / "good.csv", TEXT)], columns=COLUMNS)
    assert result.rows == EXPECTED
    assert "t.zip/a.csv is damaged" in str(result.error)


@pytest.mark.parametrize("suffix", ["zip", "parquet"])
def test_a_truncated_zip_or_parquet_is_a_parse_error(tmp_path: Path, suffix: str) -> None:
    parquet(tmp_path / "t.parquet", ts=[T0] * 1_000, price=[1.0] * 1_000)
    write(tmp_path / "t.zip", zipped({"a.csv": TEXT}))
    path = tmp_path / f"t.{suffix}"
    write(path, path.read_bytes()[:-30])
    result = replay([path, write(tmp_path / "good.csv", TEXT)], columns={"ts": "ts", "price": "price"}, symbol="A")
    assert result.count == 1_000, "the other file's rows"
    assert f"t.{suffix} is truncated" in str(result.error)


def test_a_damaged_parquet_page_keeps_the_rows_before(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = pa.table({"ts": [T0 + k for k in range(60_000)], "price": [f"{k}.5" for k in range(1, 60_001)]})
    pq.write_table(table, path, row_group_size=10_000, compression="gzip")
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 5 : len(data) * 3 // 5 + 64] = bytes(64)
    result = replay(write(path, bytes(data)), columns={"ts": "ts", "price": "price"}, symbol="A")
    assert "is damaged" in str(result.error)
    assert 10_000 <= result.count < 60_000


def test_a_file_with_only_bad_rows_is_a_parse_error(tmp_path: Path) -> None:
    """The message lists the causes and the first bad row."""
    bad = write(tmp_path / "bad.csv", csv_text(*["x,1,1,SPY"] * 7, *["1700000000000,0,1,SPY"] * 2))
    good = write(tmp_path / "good.csv", TEXT)
    result = replay([bad, good], columns=COLUMNS)
    assert result.rows == EXPECTED
    assert str(result.error) == (
        "bad.csv holds no good row: expected ticks, got bad_time 7, bad_price 2; first: bad_time at bad.csv:2"
    )


def test_a_file_deleted_after_open_is_a_parse_error(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", TEXT)
    table = InstrumentTable()
    feed = FileFeed(replay_settings(path, columns=COLUMNS), table, SystemClock())
    feed.open()
    path.unlink()
    assert "could not be opened any more" in str(read(feed, table).error)
