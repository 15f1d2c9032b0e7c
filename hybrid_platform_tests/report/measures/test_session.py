"""Measures of a session: by hand for one small session, and against plain loops over any session."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S
from hybrid_platform.domain.orders import (
    OrderEventRecord,
    OrderRecord,
    OrderType,
    Record,
    Side,
    Signal,
    TimeInForce,
    TradeRecord,
    buy,
    sell,
)
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.report.measures.curve import CurveBuilder
from hybrid_platform.report.measures.session import Measured, measure_session
from hybrid_platform.storage import reader
from hybrid_platform.strategies import Params, Strategy, Tick
from hybrid_platform_tests.recording import Recorder, make_ticks, session_events

PLAIN = {"mode": "SHADOW", "risk": {}, "execution": {"slippage_bps": 100, "fee_bps": 10, "starting_cash_usd": 1000}}


class Plan(Strategy[Params]):
    """BUY 2 at tick 2, SELL 3 at tick 4, BUY 1 at tick 6: two round trips, then flat; a limit order far away at 5."""

    def on_tick(self, tick: Tick) -> Signal | None:
        if tick.seq == 5:
            return buy(tick, 1, "FAR", type=OrderType.LIMIT, limit_price=tick.price - 50)
        wanted = {2: (buy, 2), 4: (sell, 3), 6: (buy, 1)}.get(tick.seq)
        return None if wanted is None else wanted[0](tick, wanted[1], "PLAN")


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    return Recorder(tmp_path_factory.mktemp("measured") / "data")


@pytest.fixture(scope="module")
def planned(recorder: Recorder) -> Measured:
    prices = [100, 100, 110, 120, 120, 90, 95]
    ticks = make_ticks([(0, price, 1000) for price in prices], ("AAA",))
    recorded = recorder.record(recorder.settings(**PLAIN, strategy={"name": f"{__name__}:Plan"}), ticks)
    return measure_session(recorder.reading, recorded.session_id)


def test_profit_and_loss_by_hand(planned):
    # BUY 2 at 101, SELL 3 at 118.8, BUY 1 at 90.9; fees 0.1 % of each.
    result = planned.measures.result
    assert result.volume == Decimal("649.3")  # 202 + 356.4 + 90.9
    assert result.fees == Decimal("0.6493")
    assert result.realised == Decimal("63.5")  # 2 × 17.8 + 1 × 27.9
    assert result.unrealised == 0
    assert result.pnl == Decimal("62.8507")
    assert result.final_equity == Decimal("1062.8507")
    assert result.return_percent == pytest.approx(6.28507)
    assert result.turnover == pytest.approx(0.6493)


def test_round_trips_by_hand(planned):
    # The second fill closes 2 of its 3: two thirds of its fees belong to the first trip.
    first = 237.6 - 202 - 0.202 - 0.2376
    second = 118.8 - 90.9 - 0.1188 - 0.0909
    trips = planned.measures.round_trips
    assert (trips.count, trips.wins, trips.losses, trips.open, trips.win_rate) == (2, 2, 0, 0, 1.0)
    assert (trips.best, trips.worst) == (pytest.approx(first), pytest.approx(second))
    assert trips.expectancy == pytest.approx((first + second) / 2)
    assert trips.profit_factor is None
    assert trips.median_s == 2.0


def test_the_equity_curve_and_its_drawdown_by_hand(planned):
    curve, risk = planned.curve, planned.measures.risk
    assert curve is not None
    # 1000; 2 bought for 202 and worth 200, fees 0.202; 2 × 10 more; then short 1 from 118.8, marked at 120 …
    expected = [1000, 997.798, 1017.798, 1033.8416, 1033.8416, 1062.8507, 1062.8507]
    steps = planned.curve.equity[:: NS_PER_S // (risk_step(planned))]
    assert steps[: len(expected) - 1] == pytest.approx(expected[:-1])
    assert risk.drawdown.usd == pytest.approx(2.202)
    assert risk.drawdown.percent == pytest.approx(0.2202)
    assert (risk.drawdown.length_s, risk.drawdown.longest_s) == (2.0, 2.0)


def risk_step(found: Measured) -> int:
    ends = found.curve.ts
    return int(ends[1] - ends[0])


def test_exposure_by_hand(planned):
    # 0 for a second, 200 for one, 220 for one, 120 for two, then flat: six seconds in all.
    exposure = planned.measures.exposure
    assert exposure.max == pytest.approx(220)
    assert exposure.mean == pytest.approx((200 + 220 + 120 + 120) / 6)
    assert exposure.in_market_percent == pytest.approx(4 / 6 * 100)
    assert exposure.final == 0


def test_costs_by_hand(planned):
    # Every fill is 1 % worse than arrival: 2 of 200, 3.6 of 360, 0.9 of 90. The limit order missed (90 − 120) × 1 …
    cost = planned.measures.cost
    assert cost.slippage_usd == pytest.approx(6.5)
    assert cost.slippage_bps == pytest.approx(100)
    assert (cost.each_bps.p50, cost.each_bps.max) == (pytest.approx(100), pytest.approx(100))
    assert cost.fees_bps == pytest.approx(10)
    # … or nothing: in SHADOW it ended at the tick that caused it.
    assert cost.missed_usd == pytest.approx(0)
    assert cost.shortfall_usd == pytest.approx(6.5 + 0.6493)
    assert cost.shortfall_bps == pytest.approx((6.5 + 0.6493) / 770 * 1e4)
    assert cost.filled_percent == pytest.approx(650 / 770 * 100)
    assert planned.measures.counts.ends == {"CANCELED": 1, "FILLED": 3}


def test_an_inferred_price_increment_is_marked(planned):
    (line,) = planned.measures.instruments
    assert (line.price_increment, line.is_inferred) == (Decimal(5), True)


MOVES = st.lists(
    st.tuples(st.integers(0, 1), st.integers(96, 104), st.sampled_from((0, 1, 30, 700))), min_size=12, max_size=60
)


ACTS = st.lists(session_events(["show", "drop", "idle"], 15), max_size=6)


slow = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.scenario("I4")
@slow
@given(moves=MOVES, doings=ACTS, mode=st.sampled_from(("SHADOW", "PAPER")))
def test_measures_agree_with_plain_loops_over_the_records(recorder, moves, doings, mode):
    ticks = make_ticks(moves)
    recorded = recorder.record(recorder.settings(mode=mode), ticks, doings)
    found = measure_session(recorder.reading, recorded.session_id)
    result, trades = found.measures.result, [row for row in recorded.records if isinstance(row, TradeRecord)]

    last = {item.symbol: Fraction(0) for item in ticks.table}
    for tick in ticks.ticks():
        last[tick.symbol] = Fraction(tick.price)
    net = {symbol: sum((_signed(t) for t in trades if t.symbol == symbol), Fraction(0)) for symbol in last}
    cash = sum((-_signed(t) * Fraction(t.fill_price) - Fraction(t.fees) for t in trades), Fraction(0))
    pnl = cash + sum((net[symbol] * last[symbol] for symbol in last), Fraction(0))
    assert Fraction(result.pnl) == pnl
    assert Fraction(result.fees) == sum((Fraction(t.fees) for t in trades), Fraction(0))
    assert Fraction(result.volume) == sum((abs(_signed(t)) * Fraction(t.fill_price) for t in trades), Fraction(0))
    assert found.curve.equity[-1] == pytest.approx(float(result.final_equity), abs=1e-6)

    clock, equity, prices, lowest, peak, fall = 0, [], {}, 1e18, 10_000.0, 0.0
    for tick in ticks.ticks():
        clock = max(clock, tick.ts_recv)
        prices[tick.symbol] = float(tick.price)
        value = 10_000.0
        for trade in trades:
            if trade.ts <= clock and int(trade.order_id[1:].split(".")[0].split("#")[0]) <= tick.seq:
                value += -float(_signed(trade)) * float(trade.fill_price) - float(trade.fees)
                value += float(_signed(trade)) * prices[trade.symbol]
        equity.append(value)
        peak, lowest = max(peak, value), min(lowest, value)
        fall = max(fall, peak - value)
    fall = max(fall, max(peak, *equity) - float(result.final_equity))
    assert found.measures.risk.drawdown.usd == pytest.approx(fall, abs=1e-6)
    assert min(found.curve.low[0], np.nanmin(found.curve.low)) <= lowest + 1e-6

    assert found.measures.cost.missed_usd == pytest.approx(_missed(recorded.records, ticks), abs=1e-6)


def _missed(records: list[Record], ticks: TickBatch) -> float:
    """Return the earnings that unfilled quantity missed from arrival to its order's end, by a plain loop."""
    orders = {row.order_id: row for row in reversed(records) if isinstance(row, OrderRecord)}
    seen = {tick.seq: tick for tick in ticks.ticks()}
    total = 0.0
    for order in orders.values():
        filled = sum(t.fill_qty for t in records if isinstance(t, TradeRecord) and t.order_id == order.order_id)
        events = [e for e in records if isinstance(e, OrderEventRecord) and e.order_id == order.order_id]
        ends = [e.ts for e in events if e.status.value in {"CANCELED", "EXPIRED", "REJECTED"}]
        own = seen[order.seq].symbol == order.symbol
        arrival = order.price if order.type is OrderType.MARKET else seen[order.seq].price if own else None
        if arrival is None or filled == order.qty:
            continue
        clock, last = 0, arrival
        for tick in ticks.ticks():
            clock = max(clock, tick.ts_recv)
            if tick.symbol == order.symbol and (not ends or clock <= ends[-1]):
                last = tick.price
        side = 1 if order.side is Side.BUY else -1
        total += side * float((last - arrival) * (order.qty - filled))
    return total


def test_a_thinned_session_still_ends_at_the_exact_result(recorder):
    recorded = recorder.record(recorder.settings(), make_ticks([(0, 100 + k % 7, 50) for k in range(90)], ("AAA",)))
    full = measure_session(recorder.reading, recorded.session_id)
    thin = measure_session(recorder.reading, recorded.session_id, max_valued=10)
    assert thin.measures.result == full.measures.result
    assert thin.measures.sampling.startswith("every 9. of 90 ticks, and the last")
    assert thin.curve.equity[-1] == pytest.approx(float(full.measures.result.final_equity))


def test_a_session_without_trades_has_undefined_ratios(recorder):
    quiet = {"risk": {"max_exposure_usd": 0}, "mode": "SHADOW"}
    recorded = recorder.record(recorder.settings(**quiet), make_ticks([(0, 100, 10)] * 30, ("AAA",)))
    found = measure_session(recorder.reading, recorded.session_id).measures
    assert (found.result.pnl, found.round_trips.count, found.counts.fills) == (0, 0, 0)
    assert (found.risk.sharpe, found.cost.slippage_bps, found.round_trips.win_rate) == (None, None, None)
    assert found.counts.vetoes["RISK_CAP"] > 5


class Resting(Strategy[Params]):
    """A limit order far away at every tick: each ends with a rest."""

    def on_tick(self, tick: Tick) -> Signal:
        until = {"time_in_force": TimeInForce.GTD, "expires_at": tick.ts_recv + 1_500 * NS_PER_MS}
        return buy(tick, 1, "FAR", type=OrderType.LIMIT, limit_price=tick.price - 50, **until)


def test_memory_does_not_grow_with_orders(recorder, monkeypatch):
    """Ten times the orders need no more memory, and the sums equal those of a reading in one piece."""
    held: dict[str, list[int]] = {}
    add_block = CurveBuilder.add_block

    def looked(builder: CurveBuilder, block: np.ndarray) -> None:
        add_block(builder, block)
        replay = builder._replay
        held[session].append(
            len(replay._open_orders)
            + len(replay._ended_orders)
            + len(builder._awaiting_price)
            + len(builder._fills["ts"])
        )

    monkeypatch.setattr(CurveBuilder, "add_block", looked)
    for length in (40, 400):
        strategy = {"strategy": {"name": f"{__name__}:Resting"}, "mode": "PAPER"}
        ticks = make_ticks([(0, 100 + k % 7, 700) for k in range(length)], ("AAA",))
        session = recorder.record(recorder.settings(**strategy), ticks).session_id
        held[session] = []
        whole = measure_session(recorder.reading, session).measures
        with monkeypatch.context() as short:
            short.setattr(reader, "MARKS_AT_ONCE", 8)
            held[session] = []
            paged = measure_session(recorder.reading, session, max_ended_orders=4).measures
        assert whole.counts.ends["EXPIRED"] > length - 10
        assert whole.cost.missed_usd != 0
        assert paged.cost.missed_usd == pytest.approx(whole.cost.missed_usd)
        assert (paged.counts, paged.latency, paged.result) == (whole.counts, whole.latency, whole.result)
    few, many = held.values()
    assert len(many) >= 10 * len(few) - 10
    assert max(many) <= max(few) + 1


def _signed(trade: TradeRecord) -> Fraction:
    return Fraction(trade.fill_qty) * (1 if trade.side is Side.BUY else -1)
