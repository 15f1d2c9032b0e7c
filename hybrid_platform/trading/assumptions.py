"""Assumptions behind a session's fills and limits: name, value and meaning. The report prints all of them."""

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
        Assumption(
            "starting_cash_usd", canonical(execution.starting_cash_usd), "cash of the account when the session starts"
        ),
        Assumption("usd_rates", rates, "value of one unit of a quote currency in USD, for the whole session"),
        Assumption(
            "max_staleness_ms", str(risk.max_staleness_ms), "maximum age of the data behind a signal; older is vetoed"
        ),
    )
    of_mode = {Mode.SHADOW: _shadow, Mode.PAPER: _paper, Mode.LIVE: _live}[settings.mode]
    return of_mode(settings) + common


def _live(settings: SessionSettings) -> tuple[Assumption, ...]:
    slippage = canonical(settings.execution.slippage_bps)
    return (
        Assumption("fill_price", "the venue's", "as reported, with the venue's fees; nothing is simulated"),
        Assumption("slippage_bps", slippage, "minimum collar around prices when exposure is checked"),
        Assumption("resting_orders", "the venue's", "canceled when the session ends, or recorded as open"),
    )


def _shadow(settings: SessionSettings) -> tuple[Assumption, ...]:
    execution = settings.execution
    return (
        Assumption("fill_price", "last seen price", "an order fills completely and at once, at the price of its tick"),
        Assumption("slippage_bps", canonical(execution.slippage_bps), "how much worse than that price a fill is"),
        Assumption(
            "fee_bps", canonical(execution.fee_bps), "fee on the notional, unless the instrument states its own"
        ),
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
        Assumption("jitter", str(delays.jitter), "maximum random extension of each delay, as a share of it"),
        Assumption("fill_price", "later real prints", "only prints after the order's arrival fill it"),
        Assumption("slippage_bps", canonical(model.slippage_bps), "how much worse than its print a taker's fill is"),
        Assumption("participation", canonical(model.participation), "share of a print that our orders may take"),
        Assumption("limit_fills", queue, "when a resting order fills"),
        Assumption(
            "taker_fee_bps", canonical(model.taker_fee_bps), "fee on the notional, unless the instrument states its own"
        ),
        Assumption("maker_fee_bps", canonical(model.maker_fee_bps), "fee on the notional; a negative one is a rebate"),
        Assumption("reject_rate", str(model.reject_rate), "share of orders that the venue rejects at random"),
        Assumption("seed", str(model.seed), "seed of the random delays and rejects"),
        Assumption("impact", "none", "our fills do not move the recorded market"),
    )


def _ms(ns: int) -> str:
    return canonical(from_units(ns, 6))
