"""An oracle for generated trading sessions: the invariants, computed again from ticks and records, in fractions.

It uses none of the tested code.

* `Wish`, `WISHES`, `SESSIONS`: signals and sessions before they have ids and times.
* `make_session`: ticks and stamped signals of a drawn session.
* `shadow`, `paper`: settings with small caps.
* `Caps`: computes the worst case of every candidate and compares the engine's verdicts (I2).
* `check_links`, `check_account`: the chain of records, and accounts from trades (I3, I4).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from hypothesis import strategies as st

from hybrid_platform.domain.orders import (
    OrderEventRecord,
    OrderRecord,
    OrderStatus,
    Record,
    Side,
    Signal,
    SignalRecord,
    TimeInForce,
    TradeRecord,
    VetoRecord,
)
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform_tests.trading.market import START, Print, make_settings, make_table, make_ticks, signal_at

MS = 10**6
SYMBOLS = ("AAA", "BBB/USDC", "CCC/EUR")
RATES = {"USD": "1", "USDC": "1", "EUR": "1.25"}
CAPS = {"max_exposure_usd": 5000, "max_symbol_exposure_usd": 3000, "max_open_orders": 3, "usd_rates": RATES}
ENDED = {OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED}
SIDES = st.sampled_from(Side)


class Wish(NamedTuple):
    """A signal before it has a tick, an id and a time."""

    side: Side
    size: int
    away: int | None
    """Limit price minus last price; None: a market order."""
    terms: TimeInForce
    reduce_only: bool
    cancels: int | None
    """Cancel the order of that many signals ago."""


WISHES = st.builds(
    Wish,
    SIDES,
    st.integers(1, 30),
    st.one_of(st.none(), st.integers(-2, 2)),
    st.sampled_from(TimeInForce),
    st.booleans(),
    st.one_of(st.none(), st.none(), st.integers(1, 3)),
)
TICKS = st.tuples(
    st.integers(0, 2),
    st.integers(97, 103),
    st.integers(0, 40),
    st.sampled_from((0, 1, 50, 400, -30)),
    st.lists(WISHES, max_size=2),
)
SESSIONS = st.lists(TICKS, min_size=1, max_size=25)
MARKET_WISHES = st.builds(
    Wish, SIDES, st.integers(1, 30), st.none(), st.just(TimeInForce.GTC), st.just(False), st.none()
)


def make_session(rows: Sequence[tuple[int, int, int, int, Sequence[Wish]]]) -> tuple[TickBatch, list[Signal]]:
    """Turn drawn rows into ticks and stamped signals."""
    prints, at = [], START
    for index, price, size, gap, _ in rows:
        at += gap * MS
        prints.append(Print(price, size, index, at))
    ticks = make_ticks(make_table(*SYMBOLS), prints)
    signals: list[Signal] = []
    for position, (_, price, _, _, wishes) in enumerate(rows):
        for ordinal, wish in enumerate(wishes, 1):
            terms: dict[str, Any] = {"time_in_force": wish.terms, "reduce_only": wish.reduce_only}
            if wish.terms is TimeInForce.GTD:
                terms["expires_at"] = prints[position].at + 60 * MS
            if wish.away is not None:
                terms["limit_price"] = price + wish.away
            if wish.cancels is not None and len(signals) >= wish.cancels:
                terms["cancels"] = "O" + signals[-wish.cancels].signal_id[1:]
            signals.append(signal_at(ticks, position, wish.side, wish.size, ordinal, **terms))
    return ticks, signals


def shadow(**risk: Any) -> SessionSettings:
    """Shadow mode with small caps and visible slippage."""
    return make_settings("SHADOW", risk={**CAPS, **risk}, execution={"slippage_bps": 100, "fee_bps": 10})


def paper(seed: int, **risk: Any) -> SessionSettings:
    """A paper venue whose reports overtake one another, that rejects some orders and fills parts."""
    return make_settings(
        "PAPER",
        risk={**CAPS, **risk},
        paper={"submit_ms": 1, "cancel_ms": 1, "report_ms": 20, "jitter": 3, "seed": seed, "participation": "0.5",
               "limit_fills": "at" if seed % 2 else "through", "queue_prints": 1, "slippage_bps": 50,
               "reject_rate": 0.1},
    )  # fmt: skip


class Judged(NamedTuple):
    """The figures of one candidate that the caps limit."""

    symbol_usd: Fraction
    total_usd: Fraction
    open_orders: int
    is_reducing: bool

    def passes(self, settings: SessionSettings) -> bool:
        risk = settings.risk
        fits = self.symbol_usd <= risk.max_symbol_exposure_usd and self.total_usd <= risk.max_exposure_usd
        return (fits or self.is_reducing) and self.open_orders <= risk.max_open_orders


class Caps:
    """Follows a session's records and judges every candidate (I2)."""

    def __init__(self, settings: SessionSettings, ticks: TickBatch, records: Sequence[Record]) -> None:
        self.settings = settings
        self.records = records
        self.seen = [(int(i), Fraction(int(p), 10**9)) for i, p in zip(ticks.instrument, ticks.price, strict=True)]
        self.table = ticks.table
        slippage = settings.execution.slippage_bps if settings.mode.value == "SHADOW" else settings.paper.slippage_bps
        self.collar = 1 + Fraction(slippage) / 10_000
        self.net: dict[str, Fraction] = defaultdict(Fraction)
        self.remaining: dict[str, tuple[str, Side, Fraction]] = {}
        self.ended: set[str] = set()

    def check(self) -> int:
        """Judge every approved and every capped candidate; return how many there were."""
        signals = {record.signal_id: record for record in self.records if isinstance(record, SignalRecord)}
        judged = 0
        for position, record in enumerate(self.records):
            if isinstance(record, OrderRecord) and record.order_id not in self.remaining:
                self.remaining[record.order_id] = (record.symbol, record.side, Fraction(record.qty))
                verdict = self._judge(position, record.seq, record.symbol, record.side, Fraction(0))
                assert verdict.passes(self.settings), (record, verdict)
                judged += 1
            elif isinstance(record, VetoRecord) and record.reason == "RISK_CAP":
                signal = signals[record.signal_id]
                verdict = self._judge(position, record.seq, record.symbol, signal.side, Fraction(signal.size))
                assert not verdict.passes(self.settings), (record, verdict)
                judged += 1
            elif isinstance(record, OrderEventRecord) and record.status in ENDED:
                self.ended.add(record.order_id)
            elif isinstance(record, TradeRecord):
                change = Fraction(record.fill_qty)
                symbol, side, left = self.remaining[record.order_id]
                self.remaining[record.order_id] = (symbol, side, left - change)
                self.net[symbol] += change if side is Side.BUY else -change
        return judged

    def _judge(self, position: int, seq: int, symbol: str, side: Side, size: Fraction) -> Judged:
        """Judge ``size`` more of a symbol, or, with 0, the candidate that is already among the open orders."""
        pending: dict[tuple[str, Side], Fraction] = defaultdict(Fraction)
        for order_id, (its_symbol, its_side, left) in self.remaining.items():
            pending[its_symbol, its_side] += (
                self._unreported_qty(order_id, position) if order_id in self.ended else left
            )
        pending[symbol, side] += size
        prices = dict(self.seen[:seq])
        usd = {}
        for index, price in prices.items():
            item = self.table[index]
            net = self.net[item.symbol]
            worst = max(abs(net + pending[item.symbol, Side.BUY]), abs(net - pending[item.symbol, Side.SELL]))
            usd[item.symbol] = worst * price * self.collar * Fraction(RATES[item.quote])
        open_orders = sum(left > 0 and key not in self.ended for key, (_, _, left) in self.remaining.items()) + (
            size > 0
        )
        against = -self.net[symbol] if side is Side.BUY else self.net[symbol]
        reducing = against > 0 and pending[symbol, side] <= against
        return Judged(usd[symbol], sum(usd.values(), Fraction(0)), open_orders, reducing)

    def _unreported_qty(self, order_id: str, position: int) -> Fraction:
        """Return the quantity of an ended order whose fills are reported later."""
        later = (record for record in self.records[position:] if isinstance(record, TradeRecord))
        return sum((Fraction(trade.fill_qty) for trade in later if trade.order_id == order_id), Fraction(0))


def check_links(records: Sequence[Record]) -> None:
    """Check that trades have orders, orders have signals, all agree, and no signal has both a veto and an order."""
    signals: dict[str, SignalRecord] = {}
    orders: dict[str, OrderRecord] = {}
    filled: dict[str, Decimal] = defaultdict(Decimal)
    vetoed: set[str] = set()
    trade_ids: set[str] = set()
    numbers: dict[type, int] = defaultdict(int)
    for record in records:
        if isinstance(record, SignalRecord):
            assert record.signal_id not in signals
            signals[record.signal_id] = record
        elif isinstance(record, VetoRecord):
            assert record.signal_id not in vetoed
            vetoed.add(record.signal_id)
            assert (record.venue, record.symbol, record.seq) == _place(signals[record.signal_id])
        elif isinstance(record, OrderRecord):
            signal = signals[record.signal_id]
            assert (record.venue, record.symbol, record.seq) == _place(signal)
            assert (record.side, record.qty, record.is_shadow) == (signal.side, signal.size, True)
            orders[record.order_id] = record
        elif isinstance(record, OrderEventRecord | TradeRecord):
            numbers[type(record)] += 1
            assert record.n == numbers[type(record)]
            assert record.order_id in orders
        if isinstance(record, TradeRecord):
            order = orders[record.order_id]
            assert (record.venue, record.symbol, record.side, record.is_shadow) == (
                order.venue,
                order.symbol,
                order.side,
                True,
            )
            assert record.trade_id not in trade_ids
            trade_ids.add(record.trade_id)
            filled[record.order_id] += record.fill_qty
            assert record.fill_qty > 0
            assert record.fill_price > 0
    for order in orders.values():
        assert filled[order.order_id] <= order.qty
        assert (order.status is OrderStatus.FILLED) == (filled[order.order_id] == order.qty)
        assert order.signal_id not in vetoed
    assert {order.signal_id for order in orders.values()} | vetoed <= set(signals)


def check_account(records: Sequence[Record], positions: Sequence[Any]) -> None:
    """Check that cash, net and fees of every position are exactly the trades' sums (I4)."""
    sums: dict[str, list[Fraction]] = defaultdict(lambda: [Fraction(0)] * 3)
    for trade in records:
        if isinstance(trade, TradeRecord):
            change = Fraction(trade.fill_qty) * (1 if trade.side is Side.BUY else -1)
            net, cash, fees = sums[trade.symbol]
            paid = Fraction(trade.fees)
            sums[trade.symbol] = [net + change, cash - change * Fraction(trade.fill_price) - paid, fees + paid]
    assert {held.symbol: [Fraction(held.net), Fraction(held.cash), Fraction(held.fees)] for held in positions} == dict(
        sums
    )
    for held in positions:
        assert held.realised - held.fees - held.cost == held.cash


def _place(signal: SignalRecord) -> tuple[str, str, int]:
    return signal.venue, signal.symbol, signal.seq
