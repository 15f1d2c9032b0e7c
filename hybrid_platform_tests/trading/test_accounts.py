"""Accounts: exact, from fills alone, idempotent, and equal when rebuilt from the trades (I3, I4, S11)."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import Side, TradeRecord
from hybrid_platform.trading.accounts import PNL_QUANTUM, Account, Position, rebuild_account

STOCK = Instrument("TEST", "ABC")
FUTURE = Instrument("TEST", "GC", multiplier=Decimal(100), quote="EUR")
BOTH = {item.key: item for item in (STOCK, FUTURE)}


def trade(n, side, qty, price, fees="0", item=STOCK, trade_id=None):
    return TradeRecord(
        n,
        trade_id or f"T{n}-1",
        f"O{n}",
        item.venue,
        item.symbol,
        side,
        Decimal(qty),
        Decimal(price),
        Decimal(fees),
        True,
        n,
    )


def position_of(*fills) -> Position:
    position = Position(STOCK)
    for side, qty, price in fills:
        position.fill(side, Decimal(qty), Decimal(price), Decimal(0))
    return position


def test_average_price_and_realised_pnl_of_a_long_position():
    position = position_of((Side.BUY, 10, 100), (Side.BUY, 10, 110), (Side.SELL, 5, 120))
    snapshot = position.snapshot()
    assert (snapshot.net, snapshot.average_price, snapshot.realised) == (15, 105, 75)
    assert position.unrealised(Decimal(100)) == -75


def test_a_reversed_position_opens_at_the_price_of_the_fill():
    snapshot = position_of((Side.BUY, 10, 100), (Side.SELL, 15, 110)).snapshot()
    assert (snapshot.net, snapshot.average_price, snapshot.realised) == (-5, 110, 100)


def test_a_short_position_earns_when_the_price_falls():
    position = position_of((Side.SELL, 10, 100), (Side.BUY, 4, 90))
    assert (position.realised, position.snapshot().average_price) == (40, 100)
    assert position.unrealised(Decimal(95)) == 30


def test_a_flat_position_has_no_average_price_and_no_cost():
    snapshot = position_of((Side.BUY, 3, 100), (Side.SELL, 1, 101), (Side.SELL, 2, 102)).snapshot()
    assert (snapshot.net, snapshot.average_price, snapshot.cost, snapshot.realised) == (0, None, 0, 5)


def test_a_rounded_average_loses_nothing():
    """Realised and unrealised PnL add up exactly, although the average price is rounded."""
    position = position_of((Side.BUY, 1, 100), (Side.BUY, 2, 101), (Side.SELL, 1, 100))
    assert position.realised == Decimal("-0.666666666666666667")
    assert position.cost == Decimal("201.333333333333333333")
    assert position.realised + position.unrealised(Decimal(100)) == -2


@pytest.mark.scenario("I4")
def test_cash_fees_and_equity_add_up_by_quote_and_in_dollars():
    account = rebuild_account([trade(1, Side.BUY, 2, 100, "0.2"), trade(2, Side.SELL, 1, 1500, "3", FUTURE)], BOTH)
    assert account.cash() == {"USD": Decimal("-200.2"), "EUR": 149_997}
    assert account.fees() == {"USD": Decimal("0.2"), "EUR": 3}
    prices = {"ABC": Decimal(101), "GC": Decimal(1490)}
    equity = account.equity_usd(
        lambda venue, symbol: prices[symbol], {"USD": Decimal(1), "EUR": Decimal("1.1")}, Decimal(500)
    )
    assert equity == 500 + (2 - Decimal("0.2")) + Decimal("1.1") * (1000 - 3)


@pytest.mark.scenario("I3")
def test_a_repeated_fill_changes_nothing():
    account = rebuild_account([], BOTH)
    fill = trade(1, Side.BUY, 2, 100, "0.2")
    assert account.apply(fill)
    before = account.positions()
    assert not account.apply(fill)
    assert account.positions() == before


FILLS = st.lists(
    st.tuples(
        st.sampled_from(Side),
        st.decimals("0.00000001", 1000, places=8),
        st.decimals("0.01", 100_000, places=9),
        st.decimals(-1, 10, places=18),
        st.sampled_from((STOCK, FUTURE)),
    ),
    max_size=25,
)


@pytest.mark.scenario("I3", "I4")
@given(FILLS, st.randoms(use_true_random=False))
def test_fills_conserve_value_and_a_rebuilt_account_is_equal(fills, chance):
    """Cash, position value and fees balance at every fill; shuffled and repeated trades rebuild the account exactly."""
    trades = [trade(n, side, qty, price, fees, item) for n, (side, qty, price, fees, item) in enumerate(fills, 1)]
    account = Account(lambda venue, symbol: BOTH[venue, symbol])
    for row in trades:
        held = account.position(row.venue, row.symbol)
        cash, net = held.cash, held.net
        account.apply(row)
        worth = Fraction(row.fill_price) * Fraction(held.instrument.multiplier)
        assert (
            Fraction(held.cash) - Fraction(cash) + (Fraction(held.net) - Fraction(net)) * worth + Fraction(row.fees)
            == 0
        )
    for held in (account.position(*key) for key in BOTH):
        price = Decimal("123.456789")
        worth = Fraction(held.net) * Fraction(price) * Fraction(held.instrument.multiplier)
        # realised + unrealised − fees is exactly what cash and the position's value say.
        assert (
            Fraction(held.realised) + Fraction(held.unrealised(price)) - Fraction(held.fees)
            == Fraction(held.cash) + worth
        )
        assert -held.realised.as_tuple().exponent <= 60
    again = trades + chance.sample(trades, k=len(trades) // 2)
    chance.shuffle(again)
    assert rebuild_account(again, BOTH).positions() == account.positions()


@given(FILLS)
def test_realised_pnl_is_within_a_quantum_per_fill(fills):
    """Rounding the released cost changes realised PnL by at most one quantum per fill."""
    position, net, cost, realised = Position(STOCK), Fraction(0), Fraction(0), Fraction(0)
    for side, qty, price, _, _ in fills:
        position.fill(side, qty, price, Decimal(0))
        change = Fraction(qty) * (1 if side is Side.BUY else -1)
        closed = min(abs(net), abs(change)) if net * change < 0 else Fraction(0)
        if closed:
            released = cost * closed / abs(net)
            realised += closed * (1 if net > 0 else -1) * Fraction(price) - released
            cost -= released
        opened = abs(change) - closed
        cost += opened * (1 if change > 0 else -1) * Fraction(price)
        net += change
    assert Fraction(position.net) == net
    assert abs(Fraction(position.realised) - realised) <= Fraction(PNL_QUANTUM) * 1000 * len(fills)
    assert not net or abs(Fraction(position.cost) - cost) <= Fraction(PNL_QUANTUM) * 1000 * len(fills)
