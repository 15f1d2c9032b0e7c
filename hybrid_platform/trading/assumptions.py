"""The assumptions behind a session's fills and limits: name, value and meaning. The report prints all of them."""

from __future__ import annotations

from typing import NamedTuple

from hybrid_platform.domain.decimals import canonical, from_units
from hybrid_platform.settings.session import Mode, SessionSettings
from hybrid_platform.trading.adapters.paper.model import build_paper_model


class Assumption(NamedTuple):
    """One assumption."""

    name: str
    value: str
    meaning: str


def list_assumptions(settings: SessionSettings) -> tuple[Assumption, ...]:
    """Return every assumption about the price and time of fills in the session's mode."""
    execution, risk = settings.execution, settings.risk
    rates = ", ".join(f"{quote} {canonical(rate)}" for quote, rate in sorted(risk.usd_rates.items()))
    common = (
        Assumption("starting_cash_usd", canonical(execution.starting_cash_usd), "cash of the account at the start"),
        Assumption("usd_rates", rates, "USD for one unit of a quote currency, for the whole session"),
        Assumption("max_staleness_ms", str(risk.max_staleness_ms), "a signal on older data is vetoed"),
    )
    of_mode = {Mode.SHADOW: _shadow, Mode.PAPER: _paper, Mode.LIVE: _live}[settings.mode]
    return of_mode(settings) + common


def _live(settings: SessionSettings) -> tuple[Assumption, ...]:
    slippage = canonical(settings.execution.slippage_bps)
    return (
        Assumption("fill_price", "the venue's", "as reported, with the venue's fees; nothing is simulated"),
        Assumption("slippage_bps", slippage, "the least collar around prices when exposure is judged"),
        Assumption("resting_orders", "the venue's", "canceled when the session ends, or recorded as open"),
    )


def _shadow(settings: SessionSettings) -> tuple[Assumption, ...]:
    execution = settings.execution
    return (
        Assumption("fill_price", "last seen price", "an order fills whole, at once, at its tick's price"),
        Assumption("slippage_bps", canonical(execution.slippage_bps), "by which a fill is worse than that price"),
        Assumption("fee_bps", canonical(execution.fee_bps), "of notional, unless the instrument states its own"),
        Assumption("resting_orders", "none", "a limit order that the last price does not reach is canceled at once"),
    )


def _paper(settings: SessionSettings) -> tuple[Assumption, ...]:
    model = build_paper_model(settings)
    delays = model.latency
    queue = f"{canonical(model.queue_prints)} mean prints ahead" if model.fills_at_limit else "only when traded through"
    return (
        Assumption("submit_ms", _ms(delays.submit_ns), "delay of an order on its way to the venue"),
        Assumption("cancel_ms", _ms(delays.cancel_ns), "delay of a cancel on its way to the venue"),
        Assumption("report_ms", _ms(delays.report_ns), "delay of a report on its way back"),
        Assumption("jitter", str(delays.jitter), "share by which each delay is randomly longer, at most"),
        Assumption("fill_price", "later real prints", "nothing fills against a print from before the order arrived"),
        Assumption("slippage_bps", canonical(model.slippage_bps), "by which a taking fill is worse than its print"),
        Assumption("participation", canonical(model.participation), "the share of a print that our orders may take"),
        Assumption("limit_fills", queue, "when a resting order fills"),
        Assumption(
            "taker_fee_bps", canonical(model.taker_fee_bps), "of notional, unless the instrument states its own"
        ),
        Assumption("maker_fee_bps", canonical(model.maker_fee_bps), "of notional; below zero is a rebate"),
        Assumption("reject_rate", str(model.reject_rate), "share of orders that the venue rejects at random"),
        Assumption("seed", str(model.seed), "of the random delays and rejects"),
        Assumption("impact", "none", "our fills do not move the market that was recorded"),
    )


def _ms(ns: int) -> str:
    return canonical(from_units(ns, 6))
