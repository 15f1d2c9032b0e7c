"""Instruments from a file: rows that become settings, and faults that name their line."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.settings.loading import load_settings

CSV = """symbol,venue,price_increment,size_increment,min_notional,multiplier,taker_fee_bps,active
BTC/USDT,binance,0.01,0.00001,10,,7.5,
ES,,0.25,1,,50,,false
"""
YAML = """
instruments:
  - {symbol: BTC/USDT, venue: BINANCE, price_increment: 0.01, size_increment: 0.00001, min_notional: 10,
     taker_fee_bps: 7.5}
  - {symbol: ES, price_increment: "0.25", size_increment: 1, multiplier: 50, active: false}
"""


def load(path: Path, text: str | bytes, name: str = "instruments.csv", **more: object):
    file = path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_settings({"instruments_file": str(file), **more}, environ={})


@pytest.mark.parametrize(
    ("name", "text"), [("i.csv", CSV), ("i.yaml", YAML), ("i.CSV", "\ufeff" + CSV.replace("\n", "\r\n"))]
)
def test_file_states_instruments_like_settings(tmp_path, name, text):
    settings = load(tmp_path, text, name)
    bitcoin, future = settings.instruments
    assert (bitcoin.symbol, bitcoin.venue, bitcoin.price_increment) == ("BTC/USDT", "BINANCE", Decimal("0.01"))
    assert (bitcoin.size_increment, bitcoin.min_notional, bitcoin.taker_fee_bps) == (
        Decimal("0.00001"),
        Decimal(10),
        Decimal("7.5"),
    )
    assert (future.multiplier, future.active, future.venue, future.max_qty) == (Decimal(50), False, None, None)
    stated = settings.stated_instruments()
    assert not stated["BINANCE", "BTC/USDT"].inferred


def test_digest_depends_on_content_not_on_path(tmp_path):
    first, same = load(tmp_path, CSV, "a.csv"), load(tmp_path, CSV, "b.csv")
    other = load(tmp_path, CSV.replace("0.25", "0.5"), "a.csv")
    assert first.instruments_file is None
    assert first.trading_sha256 == same.trading_sha256 != other.trading_sha256


@pytest.mark.scenario("S8")
def test_settings_from_a_file_reload_without_it(tmp_path):
    settings = load(tmp_path, CSV)
    (tmp_path / "instruments.csv").unlink()
    again = load_settings(settings.model_dump(mode="json"), environ={})
    assert again == settings


def test_stated_instruments_win_over_the_file(tmp_path):
    stated = [{"symbol": "ES", "venue": "SYNTHETIC", "price_increment": "0.5"}]
    settings = load(tmp_path, CSV, instruments=stated)
    assert settings.stated_instruments()["SYNTHETIC", "ES"].price_increment == Decimal("0.5")


HEAD = "symbol,price_increment,min_qty,max_qty\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + "A,0.1,,\nB,-1,,\nC,1_000,,\n", ["i.csv:3: price_increment", "i.csv:4: price_increment", "'1_000'"]),
        (HEAD + "A,,5,1\n", ["i.csv:2", "a minimum not above its maximum"]),
        (HEAD + "<img>,,,\n", ["i.csv:2: symbol"]),
        (HEAD + "A,1\n", ["i.csv:2: expected 4 cells, got 2"]),
        (HEAD + "A,,,\na,,,\n", ["i.csv:3: symbol", "each instrument once, also at", "i.csv:2"]),
        ("symbol,tick_size\nA,1\n", ["i.csv:1", "columns of symbol, venue", "tick_size"]),
        ("price_increment\n1\n", ["i.csv:1", "symbol among them"]),
        ("", ["i.csv:1"]),
        (HEAD + '"A,,,\n', ["i.csv", "valid CSV"]),
        (b"symbol\n\xff\xfe", ["a readable text file"]),
    ],
)
def test_a_wrong_row_is_named_with_its_line(tmp_path, text, words):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, "i.csv")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {symbol: A, price_incremnt: 1}", ["instrument 1: price_incremnt", "did you mean `price_increment`"]),
        ("- A", ["instrument 1: expected a mapping"]),
        ("{a: 1}", ["a list of instruments, got dict"]),
        ("[", ["valid YAML"]),
        ("- {symbol: A, symbol: B}", ["each key once"]),
    ],
)
def test_a_wrong_yaml_file_is_named(tmp_path, text, words):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, "i.yaml")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["missing.csv", "", 7, "a\0b", "."])
def test_missing_instruments_file_is_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="instruments_file"):
        load_settings({"instruments_file": name}, environ={})
