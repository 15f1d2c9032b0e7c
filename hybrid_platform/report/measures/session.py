"""Measures of one finished session.

in: its tables · out: `Measures`, and the curve for the figures. The account is rebuilt exactly from the ``trades``
rows, and prices are streamed. A second is enough for half a million ticks, or for twenty thousand orders.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.decimals import MONEY, from_units
from hybrid_platform.domain.ticks import Int64s
from hybrid_platform.report.measures.curve import Curve, CurveBuilder
from hybrid_platform.report.measures.records import (
    Counts,
    Drawdown,
    Exposure,
    InstrumentLine,
    Measures,
    Result,
    Risk,
)
from hybrid_platform.report.measures.replay import MAX_ENDED_ORDERS, ZERO, SessionReplay
from hybrid_platform.report.measures.returns import YEAR_S, calmar, sharpe, simple_returns, sortino, volatility
from hybrid_platform.report.measures.sample import MAX_HELD
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.queries import find_session, read_last_trading_ns, read_receive_time_span
from hybrid_platform.storage.reader import read_prices
from hybrid_platform.trading.risk.instrument_rules import infer_price_increment

MAX_VALUED = 2_000_000
"""Ticks that are valued one by one; in a longer session only every second, third … tick."""
# Returns over less than a second measure the spacing of trades, not the strategy: shorter steps are for plots only.


class Measured(NamedTuple):
    """The measures of a session, and the data of its figures."""

    measures: Measures
    replay: SessionReplay
    curve: Curve | None
    """None for a session without ticks."""


class _Prices:
    """Last price of each instrument, and the largest step of which all its prices are multiples, in units."""

    def __init__(self, count: int) -> None:
        self.last = np.zeros(count, dtype=np.int64)
        self.grid = np.zeros(count, dtype=np.int64)

    def add_block(self, block: Int64s) -> None:
        self.last[block[:, 1]] = block[:, 2]
        for instrument in np.unique(block[:, 1]).tolist():
            units = np.gcd.reduce(block[block[:, 1] == instrument, 2])
            self.grid[instrument] = np.gcd(self.grid[instrument], units)


def measure_session(
    engine: sa.Engine, session_id: str, *, max_valued: int = MAX_VALUED, max_ended_orders: int = MAX_ENDED_ORDERS
) -> Measured:
    """Return the measures of a session; raise ConfigError for an unknown session."""
    session = find_session(engine, session_id)
    settings = load_settings(json.loads(session.settings), environ={})
    replay = SessionReplay(engine, session_id, settings.risk.usd_rates, max_ended_orders=max_ended_orders)
    prices = _Prices(len(replay.instruments))
    span = read_receive_time_span(engine, session_id)
    builder, curve, sampling = None, None, "no tick was recorded"
    if span is not None:
        first, last, ticks = span
        every = -(-ticks // max_valued)
        sampling = f"all {ticks:,} ticks" if every == 1 else f"every {every}. of {ticks:,} ticks, and the last"
        end = max(last, read_last_trading_ns(engine, session_id) or 0)
        builder = CurveBuilder(replay, first, end, float(settings.execution.starting_cash_usd))
        for block in read_prices(engine, session_id, every=every):
            prices.add_block(block)
            builder.add_block(block)
        curve = builder.finish()
        step_s = builder.step_ns / NS_PER_S
        sampling += f" were valued; plots over steps of {step_s:g} s, returns over {max(1, step_s):g} s"
    else:
        replay.finish()
        replay.settle({})
    if replay.fills > MAX_HELD or replay.orders > MAX_HELD:
        sampling += f"; quantiles of more than {MAX_HELD:,} values are of every second, fourth … one"
    lines = tuple(_measure_instruments(replay, prices))
    result = _result(replay, lines, settings)
    measures = Measures(
        session_id=session_id,
        mode=session.mode,
        sampling=sampling,
        result=result,
        risk=_risk(builder, curve, result),
        exposure=_exposure(builder, replay, lines),
        round_trips=replay.round_trips.summarize(replay.open_round_trips),
        cost=replay.costs.summarize(float(replay.fees), float(replay.volume)),
        latency=replay.summarize_latency(),
        counts=Counts(
            signals=replay.signals,
            orders=replay.orders,
            fills=replay.fills,
            vetoes=dict(sorted(replay.vetoes.items())),
            rejects=dict(sorted(replay.rejects.items())),
            ends=dict(sorted(replay.ends.items())),
        ),
        instruments=lines,
    )
    return Measured(measures, replay, curve)


def _measure_instruments(replay: SessionReplay, prices: _Prices) -> list[InstrumentLine]:
    lines = []
    for place, item in enumerate(replay.instruments):
        held = replay.account.position(*item.key)
        snapshot = held.snapshot()
        last = from_units(int(prices.last[place]), item.price_scale)
        is_inferred = item.price_increment is None
        grid = infer_price_increment(prices.grid[[place]], item) if prices.grid[place] else None
        lines.append(
            InstrumentLine(
                venue=item.venue,
                symbol=item.symbol,
                quote=item.quote,
                fills=snapshot.fills,
                net=snapshot.net,
                average_price=snapshot.average_price,
                last_price=last,
                realised=snapshot.realised,
                unrealised=held.unrealised(last) if snapshot.net else ZERO,
                fees=snapshot.fees,
                price_increment=grid if is_inferred else item.price_increment,
                is_inferred=is_inferred,
            )
        )
    return lines


def _result(replay: SessionReplay, lines: tuple[InstrumentLine, ...], settings: SessionSettings) -> Result:
    cash = settings.execution.starting_cash_usd
    rates = [replay.usd_rate(item) for item in replay.instruments]
    realised, unrealised, fees = (
        _total([getattr(line, name) for line in lines], rates) for name in ("realised", "unrealised", "fees")
    )
    pnl = MONEY.subtract(MONEY.add(realised, unrealised), fees)
    return Result(
        starting_cash=cash,
        realised=realised,
        unrealised=unrealised,
        fees=fees,
        pnl=pnl,
        final_equity=MONEY.add(cash, pnl),
        return_percent=float(pnl) / float(cash) * 100 if cash else None,
        volume=replay.volume,
        turnover=float(replay.volume) / float(cash) if cash else None,
    )


def _total(amounts: list[Decimal], rates: list[Decimal]) -> Decimal:
    total = ZERO
    for amount, rate in zip(amounts, rates, strict=True):
        total = MONEY.add(total, MONEY.multiply(amount, rate))
    return total


def _risk(builder: CurveBuilder | None, curve: Curve | None, result: Result) -> Risk:
    if builder is None or curve is None:
        return Risk(
            step_s=0, steps=0, per_year=0, volatility=None, sharpe=None, sortino=None, calmar=None, drawdown=None
        )
    every = max(1, NS_PER_S // builder.step_ns)
    step_s = every * builder.step_ns / NS_PER_S
    per_year = YEAR_S / step_s
    start = np.array([float(result.starting_cash)])
    returns = simple_returns(np.concatenate((start, curve.equity[every - 1 :: every])))
    watch = builder.drawdown
    share = watch.usd / watch.from_peak if watch.from_peak > 0 else None
    total = None if result.return_percent is None else result.return_percent / 100
    return Risk(
        step_s=step_s,
        steps=len(returns),
        per_year=per_year,
        volatility=volatility(returns, per_year),
        sharpe=sharpe(returns, per_year),
        sortino=sortino(returns, per_year),
        calmar=calmar(total, builder.elapsed_ns / NS_PER_S, share),
        drawdown=Drawdown(
            usd=watch.usd,
            percent=None if share is None else share * 100,
            peak_at=watch.peak_at,
            trough_at=watch.trough_at,
            recovered_at=watch.recovered_at,
            length_s=watch.length / NS_PER_S,
            longest_s=watch.longest / NS_PER_S,
        ),
    )


def _exposure(
    builder: CurveBuilder | None, replay: SessionReplay, lines: tuple[InstrumentLine, ...]
) -> Exposure | None:
    if builder is None:
        return None
    worth = [
        MONEY.multiply(MONEY.multiply(line.net.copy_abs(), line.last_price), item.multiplier)
        for line, item in zip(lines, replay.instruments, strict=True)
    ]
    return Exposure(
        mean=builder.mean_exposure,
        max=builder.max_exposure,
        final=_total(worth, [replay.usd_rate(item) for item in replay.instruments]),
        in_market_percent=builder.in_market * 100,
    )
