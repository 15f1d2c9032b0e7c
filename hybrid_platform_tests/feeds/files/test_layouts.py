"""The presets, on generated files in the formats of venues and vendors."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.feeds.files.layouts import PRESETS, Layout
from hybrid_platform_tests.conftest import REPOSITORY
from hybrid_platform_tests.feeds.support import T0, replay

SPOT_TRADES = [
    "4001,61837.63000000,0.02000000,1236.75260000,{t}7,True,True",
    "4002,61837.64000000,0.5,30918.82,{t}8,False,True",
]
FUTURES_TRADES = ["5001,61800.30,0.006,370.80,{t}7,false", "5002,61800.40,0.199,12298.27,{t}8,true"]
FUTURES_HEADER = "id,price,qty,quote_qty,time,is_buyer_maker"
SPOT_AGGREGATES = [
    "26129,0.01633102,4.70443515,27781,27781,{t}7,true,True",
    "26130,0.01633103,0,27782,27790,{t}8,False,True",
]
FUTURES_AGGREGATES = ["26129,1868.42,0.0,27781,27781,{t}7,true", "26130,1868.43,2,27782,27790,{t}8,false"]
AGGREGATES_HEADER = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
MILLIS, MICROS = f"{T0}"[:-1], f"{T0}00"


def dump(folder: Path, name: str, rows: list[str], t: str, header: str = "", compressed: bool = True) -> Path:
    text = "\n".join([*filter(None, [header]), *rows]).replace("{t}", t) + "\n"
    path = folder / f"{name}.{'zip' if compressed else 'csv'}"
    if compressed:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{name}.csv", text)
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("t", [MILLIS, MICROS], ids=["milliseconds", "microseconds"])
@pytest.mark.parametrize(
    ("name", "rows", "header"),
    [
        ("BTCUSDT-trades-2025-01-02", SPOT_TRADES, ""),
        ("BTCUSDT-trades-2024-08-08", FUTURES_TRADES, FUTURES_HEADER),
        ("BTCUSDT-trades-2021-08", FUTURES_TRADES, ""),
        ("BTCUSD_PERP-trades-2024-08-08", FUTURES_TRADES, FUTURES_HEADER.replace("quote", "base")),
        ("ETHUSDT-aggTrades-2025-01-02", SPOT_AGGREGATES, ""),
        ("ETHUSDT-aggTrades-2023-05", FUTURES_AGGREGATES, AGGREGATES_HEADER),
        ("ETHUSDT-aggTrades-2020-05", FUTURES_AGGREGATES, ""),
    ],
)
def test_binances_public_dumps_are_recognised(
    tmp_path: Path, name: str, rows: list[str], header: str, t: str, compressed: bool
) -> None:
    path = dump(tmp_path, name, rows, t, header, compressed)
    result = replay(path)
    scale = 10**6 if t == MILLIS else 10**3
    assert {row[0] for row in result.rows} == {name.split("-")[0]}
    assert [row[3] for row in result.rows] == ([-1, 1] if "5001" not in rows[0] else [1, -1])
    assert [row[4] for row in result.rows] == [int(row.split(",")[0]) for row in rows]
    assert [row[5] for row in result.rows] == [int(t + digit) * scale for digit in "78"]
    assert not result.rejected
    preset = "binance_agg_trades" if "agg" in name else "binance_trades"
    renamed = path.rename(path.with_name(f"renamed{path.suffix}"))
    assert replay(renamed, format=preset, symbol="B").rows == [("B", *row[1:]) for row in result.rows]


def test_a_dump_may_change_from_ms_to_us(tmp_path: Path) -> None:
    """The unit is decided row by row."""
    rows = [SPOT_TRADES[0].replace("{t}7", f"{T0}"), SPOT_TRADES[1].replace("{t}8", f"{T0}001")]
    result = replay(dump(tmp_path, "BTCUSDT-trades-2025-01", rows, ""))
    assert [row[5] for row in result.rows] == [T0 * 10**6, T0 * 10**6 + 1_000]


def test_a_dump_with_a_garbage_first_line_loses_only_that(tmp_path: Path) -> None:
    result = replay(dump(tmp_path, "BTCUSDT-trades-2025-01", ["garbage", *SPOT_TRADES], MILLIS))
    assert (result.count, result.rejected) == (2, {"bad_columns": 1})


def lean(folder: Path, name: str, members: dict[str, str]) -> Path:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, text in members.items():
            archive.writestr(member, text)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(buffer.getvalue())
    return path


@pytest.mark.parametrize(
    ("day", "offset_hours"), [("20131008", 4), ("20131220", 5)], ids=["summer in New York", "winter in New York"]
)
def test_lean_equity_ticks(tmp_path: Path, day: str, offset_hours: int) -> None:
    """Times are New York's wall clock, prices are in ten-thousandths."""
    rows = "34200000,1821000,300,P,2000,0\n34200001,1820650,100,P,2000,1\n"
    path = lean(tmp_path / "equity/usa/tick/ibm", f"{day}_trade.zip", {f"{day}_ibm_Trade_Tick.csv": rows})
    result = replay(path)
    assert result.prices == ["182.1", "182.065"], "suspicious prints are kept"
    assert {row[0] for row in result.rows} == {"IBM"}
    since_midnight_utc = result.rows[0][5] // 10**9 % 86_400
    assert since_midnight_utc == (9 + offset_hours) * 3600 + 1800


def test_lean_futures_are_merged_over_contract_months(tmp_path: Path) -> None:
    members = {
        "20131007_gc_tick_trade_201312.csv": "100,1313.7,1,usa,,0\n300,1313.8,0,usa,,0\n",
        "20131007_gc_tick_trade_201402.csv": "200,1314.5,2,usa,,0\n300,1314.6,2,usa,,0\n",
        "readme.md": "not data",
    }
    result = replay(lean(tmp_path / "future/comex/tick/gc", "20131007_trade.zip", members))
    assert [row[0] for row in result.rows] == ["GC-201312", "GC-201402", "GC-201312", "GC-201402"]
    assert result.rows[0][5] == 1_381_104_000_100_000_000
    assert [row[2] for row in result.rows][2] == 0


@pytest.mark.parametrize(
    ("folder", "hours"), [("forex/fxcm/tick/eurusd", 5), ("forex/oanda/tick/eurusd", 0)], ids=["fxcm", "oanda"]
)
def test_lean_quotes_give_exact_midpoints(tmp_path: Path, folder: str, hours: int) -> None:
    """Times are in the broker's time zone."""
    path = lean(
        tmp_path / folder, "20140508_quote.zip", {"20140508_eurusd_tick_quote.csv": "40.1868,1.39147,1.39148\n"}
    )
    [row] = replay(path).rows
    assert row[:3] == ("EURUSD", 1_391_475_000, 0)
    assert row[5] == 1_399_507_200_000_000_000 + hours * 3600 * 10**9 + 40_186_800


def test_lean_quotes_of_an_unknown_broker_must_be_named(tmp_path: Path) -> None:
    path = lean(tmp_path, "20140508_quote.zip", {"20140508_eurusd_tick_quote.csv": "40.1868,1.39147,1.39148\n"})
    with pytest.raises(ConfigError, match="lean_forex_fxcm_quotes, lean_oanda_quotes"):
        replay(path)
    assert replay(path, format="lean_oanda_quotes").count == 1


def test_times_since_midnight_need_a_day_in_the_name(tmp_path: Path) -> None:
    path = tmp_path / "eurusd.csv"
    path.write_text("40,1.39147,1.39148\n")
    with pytest.raises(ConfigError, match=r"feed\.replay\.path: expected a name with the day of its trades"):
        replay(path, format="lean_oanda_quotes", symbol="EURUSD")


def test_headers_identify_one_preset_each() -> None:
    headers = [header for layout in PRESETS.values() for header in layout.headers]
    assert len(headers) == len(set(headers))
    for layout in PRESETS.values():
        for header in layout.headers:
            assert {column for column in layout.fields.values() if isinstance(column, str)} <= set(header)


def described(layout: Layout) -> dict[str, Any]:
    return {name: value for name, value in layout.fields.items() if value is not None}


def test_the_page_lists_every_preset_with_its_columns() -> None:
    page = (REPOSITORY / "docs" / "feeds.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", page, re.MULTILINE))
    assert set(rows) >= set(PRESETS)
    for name, layout in PRESETS.items():
        for column in described(layout).values():
            assert f"`{column}`" in rows[name], (name, column)


def test_the_page_lists_every_cause_of_rejection() -> None:
    page = (REPOSITORY / "docs" / "feeds.md").read_text(encoding="utf-8")
    source = "".join(
        path.read_text(encoding="utf-8") for path in (REPOSITORY / "hybrid_platform/feeds/files").rglob("*.py")
    )
    causes = set(re.findall(r'RowError\("(\w+)"\)', source)) | set(re.findall(r'"((?:bad|too)_\w+)"', source))
    causes |= {"price_does_not_fit", "size_does_not_fit", "time_does_not_fit", "truncated"}
    assert len(causes) > 12
    assert {cause for cause in causes if f"`{cause}`" not in page} == set()
