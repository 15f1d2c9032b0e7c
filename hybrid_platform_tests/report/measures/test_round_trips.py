"""Round trips: conservation of cash, and figures by hand."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import (
    Side,
    TradeRecord,
)
from hybrid_platform.report.measures.round_trips import RoundTripBook, RoundTripTally

FILLS = st.lists(
    st.tuples(st.sampled_from(Side), st.integers(1, 30), st.integers(1, 200), st.integers(0, 10)), max_size=40
)


@pytest.mark.scenario("I4")
@given(FILLS)
def test_round_trips_conserve_cash(fills):
    """A round trip ends exactly when the position is flat or changes sides."""
    book, item = RoundTripBook(), Instrument("TEST", "AAA", multiplier=Decimal("0.5"))
    trips, net, cash = [], 0, Fraction(0)
    for n, (side, qty, price, fee) in enumerate(fills, 1):
        trade = TradeRecord(
            n, f"T{n}", f"O{n}", "TEST", "AAA", side, Decimal(qty), Decimal(price), Decimal(fee) / 7, True, n
        )
        trip = book.apply(trade, item)
        before = net
        net += qty if side is Side.BUY else -qty
        cash -= Fraction(_signed(trade)) * price / 2 + Fraction(trade.fees)
        assert (trip is not None) == (before != 0 and (net == 0 or (net > 0) != (before > 0)))
        if trip is not None:
            trips.append(trip)
        if net == 0:
            assert sum((Fraction(each.pnl) for each in trips), Fraction(0)) == cash
    assert book.open_count == (net != 0)


def test_round_trip_figures_by_hand():
    tally = RoundTripTally()
    for pnl_usd, seconds in ((3.0, 1), (-1.0, 3), (-1.0, 2), (0.0, 9)):
        tally.add(pnl_usd, seconds * NS_PER_S)
    trips = tally.summarize(open_count=1)
    assert (trips.count, trips.wins, trips.losses, trips.open) == (4, 1, 2, 1)
    assert (trips.win_rate, trips.profit_factor, trips.expectancy) == (0.25, 1.5, 0.25)
    assert (trips.mean_win, trips.mean_loss, trips.median_s) == (3.0, -1.0, 2.5)


def _signed(trade: TradeRecord) -> Fraction:
    return Fraction(trade.fill_qty) * (1 if trade.side is Side.BUY else -1)
