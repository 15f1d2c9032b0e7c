"""The risk engine: one ordered list of checks between a signal and a venue (I2, S7).

in: an `Order` and the `RiskContext` it is judged in · out: `Approved` or `Denied` (a veto). The adapters
accept `Approved` only, so an unchecked order that reaches one by mistake is a type error for the type
checker, and a NotApprovedError at run time. A check that raises an exception denies the order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, Protocol, TypeVar, final, runtime_checkable

import msgspec

from hybrid_platform.domain.commands import TradingState
from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.domain.orders import VetoReason
from hybrid_platform.trading.market_state import LastPrice, MarketState
from hybrid_platform.trading.order import Order
from hybrid_platform.trading.risk.exposure import Exposure

T = TypeVar("T")


class NotApprovedError(PlatformError):
    """An adapter received something that the risk engine has not approved: a defect of this program."""


@final
class Approved(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """Something that passed every check. Only this module makes one, and a test keeps it so."""

    item: T


def require_approved(approved: Approved[T]) -> T:
    """Return the approved item; raise NotApprovedError for an argument of any other type."""
    if type(approved) is not Approved:
        raise NotApprovedError(f"expected an order approved by the risk engine, got {type(approved).__name__}")
    return approved.item


@dataclass(frozen=True, slots=True)
class Denied(Generic[T]):
    """Something that did not pass: the code of the first check that denied it, with limit and value in words."""

    item: T
    reason: VetoReason
    detail: str


@dataclass(slots=True)
class RiskContext:
    """All that a check may use: shared state of the engine, and the facts of this one signal."""

    market: MarketState
    exposure: Exposure
    state: TradingState = TradingState.ACTIVE
    state_reason: str = ""
    last_price: LastPrice | None = None
    """Of the order's instrument."""
    decided_at: int = 0
    """Session clock when the signal was made; later if a live feed's execution stage received it too late."""
    open_orders: int = 0
    """Orders that are not closed."""
    is_repeated: bool = False
    """A signal with this id came before."""
    projected: tuple[Decimal, Decimal] | None = None
    """`Exposure.project` of this order, once a check has asked for it."""

    def exposure_with(self, order: Order) -> tuple[Decimal, Decimal]:
        """Return the worst case in USD of the order's instrument and in total; computed once per order."""
        if self.projected is None:
            self.projected = self.exposure.project(order)
        return self.projected


class RiskCheck(Protocol):
    """One rule: a code, a limit, and a test."""

    @property
    def code(self) -> VetoReason:
        """The reason of a veto by this check."""

    @property
    def limit(self) -> Any:
        """The limit from the settings; None if the rule has no number."""

    def check(self, order: Order, context: RiskContext) -> str | None:
        """Return why the order must not pass, with limit and value, or None."""


@runtime_checkable
class StatefulCheck(Protocol):
    """A check whose limit depends on the orders approved before."""

    def on_approved(self, order: Order) -> None:
        """Count an approved order."""


class RiskEngine:
    """Owns the list of checks."""

    def __init__(self, checks: Sequence[RiskCheck]) -> None:
        self.checks = tuple(checks)
        self._tests = tuple((check.check, check.code) for check in self.checks)
        self._on_approved = tuple(check.on_approved for check in self.checks if isinstance(check, StatefulCheck))

    def judge(self, order: Order, context: RiskContext) -> Approved[Order] | Denied[Order]:
        """Run every check in order; the first that denies decides."""
        code = VetoReason.CHECK_ERROR
        try:
            for check, code in self._tests:  # the except clause names the check
                detail = check(order, context)
                if detail is not None:
                    return Denied(order, code, detail)
        except Exception as error:  # an order that cannot be judged is denied
            return Denied(order, VetoReason.CHECK_ERROR, f"{code}: {type(error).__name__}: {error}"[:500])
        for on_approved in self._on_approved:
            on_approved(order)
        return Approved(order)


def recheck_order(order: Order, rejection_reason: Callable[[Order], str | None]) -> Approved[Order] | Denied[Order]:
    """Judge an order that was approved in another process: approvals do not cross processes.

    ``rejection_reason`` returns why the order must not pass, or None; an exception that it raises denies the order.
    """
    try:
        detail = rejection_reason(order)
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"[:500]
    if detail is not None:
        return Denied(order, VetoReason.CHECK_ERROR, detail)
    return Approved(order)
