"""The risk engine's checks: every limit at its value and beyond it (I2)."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import NamedTuple

import msgspec
import pytest

from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.orders import Side, TimeInForce, VetoReason
from hybrid_platform.trading.risk.checks import build_checks
from hybrid_platform.trading.risk.engine import Approved, RiskEngine, require_approved
from hybrid_platform.trading.risk.loss import LossMonitor
from hybrid_platform_tests.trading.market import (
    FREE,
    SECOND,
    START,
    Print,
    make_settings,
    make_table,
    make_ticks,
    run,
    signal_at,
)

BUY, SELL = Side.BUY, Side.SELL


class Verdicts(NamedTuple):
    """The outcome of some signals."""

    reasons: list[str]
    """One per signal, in order; "" for a signal that became an order."""
    details: list[str]
    """One per veto, in order."""


def judge(settings, prints, *signals, stated=(), symbols=("ABC",)) -> Verdicts:
    """Run signals ``(position, side, size, terms)`` over ticks."""
    ticks = make_ticks(make_table(*symbols, stated=stated), prints)
    stamped, counts = [], Counter()
    for position, side, size, *terms in signals:
        counts[position] += 1
        stamped.append(signal_at(ticks, position, side, size, counts[position], **(terms[0] if terms else {})))
    outcome = run(settings, ticks, stamped)
    vetoes = {veto.signal_id: veto.reason.value for veto in outcome.vetoes}
    return Verdicts([vetoes.get(signal.signal_id, "") for signal in stamped], [veto.detail for veto in outcome.vetoes])


def reasons(settings, prints, *signals, **market) -> list[str]:
    return judge(settings, prints, *signals, **market).reasons


def free(**risk):
    return make_settings(risk=risk, **FREE)


@pytest.mark.scenario("I2")
def test_an_approval_cannot_be_changed():
    approved = RiskEngine([]).judge("an order", None)
    assert type(approved) is Approved
    assert require_approved(approved) == "an order"
    with pytest.raises(AttributeError):
        approved.item = "another"


@pytest.mark.scenario("I2")
def test_a_check_that_raises_denies():
    class Broken:
        code, limit = VetoReason.RISK_CAP, None

        def check(self, order, context):
            raise ZeroDivisionError("oops")

    refused = RiskEngine([Broken()]).judge("an order", None)
    assert (refused.reason, refused.detail) == (VetoReason.CHECK_ERROR, "RISK_CAP: ZeroDivisionError: oops")


@pytest.mark.scenario("I2")
def test_numbers_too_long_to_be_exact_are_denied():
    sizes = ["1e59", "1e20", "1." + "0" * 18 + "1", "1." + "0" * 130 + "1", "1e-18", "99999999999999999999"]
    expected = ["INVALID_SIGNAL"] * 4 + ["", "RISK_CAP"]
    assert reasons(free(), ["100"], *((0, BUY, size) for size in sizes)) == expected


@pytest.mark.scenario("I2")
@pytest.mark.parametrize("side", [BUY, SELL])
def test_the_symbol_cap_is_inclusive(side):
    verdicts = judge(free(), ["100"], (0, side, 20), (0, side, 30), (0, side, "0.00000001"))
    assert verdicts.reasons == ["", "", "RISK_CAP"]
    assert verdicts.details == ["max_symbol_exposure_usd: limit 5000, would be 5000.000001"]


@pytest.mark.scenario("I2")
def test_the_total_cap_counts_both_directions():
    prints = [Print(100, index=0), Print(50, index=1), Print(10, index=2)]
    signals = [(0, BUY, 50), (1, SELL, 100), (2, SELL, "0.0001")]
    verdicts = judge(free(), prints, *signals, symbols=("A", "B", "C"))
    assert verdicts.reasons == ["", "", "RISK_CAP"]
    assert verdicts.details == ["max_exposure_usd: limit 10000, would be 10000.001"]


@pytest.mark.scenario("I2")
def test_exposure_includes_the_slippage_or_the_collar():
    """The larger of the two is added to the last price."""
    settings = make_settings(execution={"slippage_bps": 100, "fee_bps": 0})
    verdicts = judge(settings, ["100"], (0, BUY, "49.6"), (0, BUY, "0.0001"))
    assert verdicts.reasons == ["RISK_CAP", ""]
    assert verdicts.details == ["max_symbol_exposure_usd: limit 5000, would be 5009.6"]
    wider = make_settings(execution={"slippage_bps": 100}, risk={"price_collar_bps": 200})
    assert reasons(wider, ["100"], (0, BUY, "49.5"), (0, BUY, "49")) == ["RISK_CAP", ""]


@pytest.mark.scenario("I2")
def test_the_open_order_cap_counts_the_candidate():
    verdicts = judge(free(max_open_orders=0), ["100"], (0, BUY, 1))
    assert verdicts.reasons == ["RISK_CAP"]
    assert verdicts.details == ["max_open_orders: limit 0, would be 1"]
    assert reasons(free(max_open_orders=1), ["100"], (0, BUY, 1), (0, BUY, 1)) == ["", ""]


@pytest.mark.scenario("I2")
def test_beyond_a_cap_only_reducing_orders_pass():
    """Such orders cannot reverse the position, even to one within the cap."""
    prints = ["100", "150"]
    assert reasons(free(), prints, (0, BUY, 50), (1, BUY, "0.1"), (1, SELL, 101), (1, SELL, "10"), (1, SELL, 40)) == [
        "",
        "RISK_CAP",
        "RISK_CAP",
        "",
        "",
    ]
    # From long 50 to short 33 would end within the cap, but is not reducing: while it is pending, 50 are held.
    assert reasons(free(), prints, (0, BUY, 50), (1, SELL, 83), (1, SELL, 1)) == ["", "RISK_CAP", ""]
    assert reasons(free(), ["100", "150"], (0, SELL, 50), (1, SELL, 1), (1, BUY, 50)) == ["", "RISK_CAP", ""]


@pytest.mark.scenario("I2")
def test_beyond_the_total_cap_each_instrument_can_be_reduced():
    prints = [Print(100), Print(100, index=1), Print(150), Print(100, index=1)]
    signals = [(0, BUY, 50), (1, BUY, 50), (3, BUY, 1), (3, SELL, 1)]
    assert reasons(free(), prints, *signals, symbols=("A", "B")) == ["", "", "RISK_CAP", ""]


@pytest.mark.scenario("I2")
def test_caps_convert_other_quotes_to_dollars():
    settings = free(usd_rates={"EUR": "1.25"})
    assert reasons(settings, ["100"], (0, BUY, 40), (0, BUY, 1), symbols=("X/EUR",)) == ["", "RISK_CAP"]


@pytest.mark.scenario("I2")
def test_exposure_includes_the_multiplier():
    stated = [Instrument("TEST", "ABC", multiplier=Decimal(50), inferred=False)]
    assert reasons(free(), ["100"], (0, BUY, 1), (0, BUY, "0.01"), stated=stated) == ["", "RISK_CAP"]


RULES = Instrument(
    "TEST",
    "ABC",
    price_increment=Decimal("0.05"),
    size_increment=Decimal("0.1"),
    min_qty=Decimal("0.5"),
    max_qty=Decimal(20),
    min_notional=Decimal(100),
    max_notional=Decimal(1000),
    inferred=False,
)


@pytest.mark.parametrize(
    ("size", "limit", "reason"),
    [("1", "100.05", ""), ("1", "100.01", "PRICE_INCREMENT"), ("1.05", None, "SIZE_INCREMENT"),
     ("0.4", None, "QUANTITY_LIMIT"), ("0.5", "200", ""), ("20.1", None, "QUANTITY_LIMIT"), ("20", "50", ""),
     ("0.9", None, "NOTIONAL_LIMIT"), ("1", None, ""), ("10", None, ""), ("10.1", None, "NOTIONAL_LIMIT")],
)  # fmt: skip
def test_stated_rules_deny_and_never_round(size, limit, reason):
    terms = {} if limit is None else {"limit_price": limit}
    assert reasons(free(), ["100"], (0, BUY, size, terms), stated=[RULES]) == [reason]


def test_inferred_rules_never_deny():
    inferred = msgspec.structs.replace(RULES, inferred=True)
    assert reasons(free(), ["100"], (0, BUY, "0.123456789"), stated=[inferred]) == [""]


def test_order_notional_is_limited_in_dollars():
    settings = free(max_order_notional_usd=1000)
    assert reasons(settings, ["100"], (0, BUY, 10), (0, BUY, "10.01"), (0, BUY, 10, {"limit_price": "101"})) == [
        "", "ORDER_NOTIONAL", "ORDER_NOTIONAL",
    ]  # fmt: skip


def test_limit_prices_outside_the_collar_are_vetoed():
    settings = free(price_collar_bps=100)
    signals = [(0, side, 1, {"limit_price": limit}) for side in (BUY, SELL) for limit in ("99", "101", "98.9", "101.1")]
    assert reasons(settings, ["100"], *signals) == ["", "", "PRICE_COLLAR", "PRICE_COLLAR"] * 2


def test_reduce_only_orders_pass_only_if_they_reduce():
    reduce = {"reduce_only": True}
    signals = [(0, BUY, 1, reduce), (0, BUY, 2), (0, BUY, 1, reduce), (0, SELL, 3, reduce), (0, SELL, 2, reduce)]
    assert reasons(free(), ["100"], *signals) == ["REDUCE_ONLY", "", "REDUCE_ONLY", "REDUCE_ONLY", ""]


def test_the_order_rate_is_a_token_bucket():
    settings = free(max_orders_per_second="0.5", order_burst=2)
    prints = [Print(100, at=START + at) for at in (0, 0, 0, 2 * SECOND - 1, 2 * SECOND, 2 * SECOND, 8 * SECOND)]
    signals = [(position, BUY, 1) for position in range(7)] + [(6, SELL, 1), (6, SELL, 1)]
    expected = ["", "", "ORDER_RATE", "ORDER_RATE", "", "ORDER_RATE", "", "", "ORDER_RATE"]
    assert reasons(settings, prints, *signals) == expected


def test_only_approved_orders_use_up_the_rate():
    settings = free(max_orders_per_second=1, max_symbol_exposure_usd=100)
    assert reasons(settings, ["100"], (0, BUY, 2), (0, BUY, 1)) == ["RISK_CAP", ""]


def test_optional_limits_are_off_until_set():
    optional = {VetoReason.DAILY_LOSS, VetoReason.DRAWDOWN, VetoReason.ORDER_NOTIONAL, VetoReason.PRICE_COLLAR,
                VetoReason.ORDER_RATE}  # fmt: skip
    losses = LossMonitor(None, None, Decimal(0))
    assert not optional & {check.code for check in build_checks(make_settings().risk, losses)}
    everything = {"max_daily_loss_usd": 1, "max_drawdown_usd": 1, "max_order_notional_usd": 1, "price_collar_bps": 1,
                  "max_orders_per_second": 1}  # fmt: skip
    checks = build_checks(make_settings(risk=everything).risk, losses)
    assert optional <= {check.code for check in checks}
    for check in checks:
        assert check.code in VetoReason
        assert hasattr(check, "limit")


@pytest.mark.scenario("I2")
def test_gtd_needs_a_future_date():
    good = {"time_in_force": TimeInForce.GTD, "expires_at": START + 1}
    assert reasons(free(), ["100"], (0, BUY, 1, good)) == [""]
