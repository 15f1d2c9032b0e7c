"""Instrument rules as the settings state them, and inferred increments."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.trading.risk.instrument_rules import infer_price_increment
from hybrid_platform_tests.trading.market import make_settings, make_table, make_ticks


def test_stated_instruments_get_venue_and_quote_from_the_feed():
    replay = {"replay": {"path": "trades.csv", "venue": "NYSE", "quote": "EUR"}}
    rules = [{"symbol": "spy", "price_increment": 0.01, "fixed_fee": "1"}, {"symbol": "SOL/USDC", "venue": "BINANCE"}]
    stated = make_settings(feed=replay, instruments=rules).stated_instruments()
    assert set(stated) == {("NYSE", "SPY"), ("BINANCE", "SOL/USDC")}
    spy, sol = stated.values()
    assert (spy.quote, spy.price_increment, spy.fixed_fee, spy.inferred) == ("EUR", Decimal("0.01"), 1, False)
    assert (sol.base, sol.quote, sol.inferred) == ("SOL", "USDC", False)
    table = InstrumentTable(stated)
    assert table[table.intern("NYSE", "SPY")] is spy
    assert table[table.intern("NYSE", "QQQ")].inferred


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([{"symbol": "A", "price_increment": 0}], r"instruments\.0\.price_increment: expected greater than 0, got 0"),
        ([{"symbol": "A", "min_qty": 2, "max_qty": 1}], r"instruments\.0: expected a minimum not above its maximum"),
        ([{"symbol": "A"}, {"symbol": "a"}], "instruments: expected each instrument once"),
        ([{"symbol": "A", "tick_size": 1}], r"instruments\.0\.tick_size: expected no such setting"),
    ],
)
def test_wrong_rules_are_errors_that_name_the_setting(rules, message):
    with pytest.raises(ConfigError, match=message):
        make_settings(instruments=rules)


def test_the_inferred_increment_divides_all_prices():
    table = make_table()
    prices = make_ticks(table, ["100.25", "100.5", "99.75"]).price
    assert infer_price_increment(prices, table[0]) == Decimal("0.25")
    assert infer_price_increment(prices[:0], table[0]) is None
    assert infer_price_increment(prices, Instrument("T", "X", price_scale=2)) == Decimal("2500000")
