"""The risk engine: one ordered list of checks between a signal and a venue (I2, S7).

in: an `Order` and the `RiskContext` it is judged in · out: `Approved` or `Denied`. Adapters take
`Approved` only, and only `RiskEngine.judge` can make one, or `recheck_order` of what comes out of the guarded
process: an order that skipped risk cannot be expressed. A check that raises denies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Generic, NoReturn, Protocol, TypeVar, final, runtime_checkable

from hybrid_platform.domain.commands import TradingState
from hybrid_platform.domain.orders import VetoReason
from hybrid_platform.trading.market_state import LastPrice, MarketState
from hybrid_platform.trading.order import Order
from hybrid_platform.trading.risk.exposure import Exposure

T = TypeVar("T")
_SEAL: Final = object()


@final
class Approved(Generic[T]):
    """What passed every check. Raises TypeError for whoever else tries to make or change one."""

    __slots__ = ("_item",)
    _item: T

    def __init__(self, item: T, seal: object = None) -> None:
        if seal is not _SEAL:
            raise TypeError("expected an approval by RiskEngine.judge, got one made by hand")
        object.__setattr__(self, "_item", item)

    @property
    def item(self) -> T:
        """What was approved."""
        return self._item

    @staticmethod
    def opened(approved: Approved[T]) -> T:
        """Return what was approved; raise TypeError for anything that is no approval, whatever it looks like."""
        if type(approved) is not Approved:
            raise TypeError(f"expected an approval by RiskEngine.judge, got {type(approved).__name__}")
        return approved._item

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise TypeError("expected an approval to stay as it was given")

    def __reduce__(self) -> NoReturn:
        raise TypeError("expected an approval to stay in its process")


@dataclass(frozen=True, slots=True)
class Denied(Generic[T]):
    """What did not pass, the first check that said so, and its limit and value in words."""

    item: T
    reason: VetoReason
    detail: str


@dataclass(slots=True)
class RiskContext:
    """All that a check may look at: shared state of the engine, and the facts of this one signal."""

    marks: MarketState
    exposure: Exposure
    state: TradingState = TradingState.ACTIVE
    state_why: str = ""
    mark: LastPrice | None = None
    """The order's instrument's last print."""
    decided_at: int = 0
    """When the signal was made, by the session clock; later where a live feed's execution got to it too late."""
    open_orders: int = 0
    """Orders that are not closed."""
    is_repeated: bool = False
    """A signal with this id was here before."""
    projected: tuple[Decimal, Decimal] | None = None
    """`Exposure.project` of this order, once a check has asked."""

    def exposure_with(self, order: Order) -> tuple[Decimal, Decimal]:
        """Return the worst case in USD of the order's instrument and in total; worked out once an order."""
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
        """What is allowed, as the settings state it; None where the rule has no number."""

    def check(self, order: Order, context: RiskContext) -> str | None:
        """Return why the order must not pass, with limit and value, or None."""


@runtime_checkable
class StatefulCheck(Protocol):
    """A check whose limit is on what was approved before."""

    def approved(self, order: Order) -> None:
        """Take note of an approved order."""


class RiskEngine:
    """Owns the list of checks."""

    def __init__(self, checks: Sequence[RiskCheck]) -> None:
        self.checks = tuple(checks)
        self._tests = tuple((check.check, check.code) for check in self.checks)
        self._told = tuple(check.approved for check in self.checks if isinstance(check, StatefulCheck))

    def judge(self, order: Order, context: RiskContext) -> Approved[Order] | Denied[Order]:
        """Ask every check in order; the first that denies decides."""
        code = VetoReason.CHECK_ERROR
        try:
            for check, code in self._tests:  # the except clause names the check
                detail = check(order, context)
                if detail is not None:
                    return Denied(order, code, detail)
        except Exception as error:  # what cannot be judged is denied
            return Denied(order, VetoReason.CHECK_ERROR, f"{code}: {type(error).__name__}: {error}"[:500])
        for approved in self._told:
            approved(order)
        return Approved(order, _SEAL)


def recheck_order(order: Order, why_not: Callable[[Order], str | None]) -> Approved[Order] | Denied[Order]:
    """Judge an order that was approved in another process: an approval stays in its own.

    ``why_not`` returns why the order must not pass, or None; whatever it raises denies.
    """
    try:
        detail = why_not(order)
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"[:500]
    if detail is not None:
        return Denied(order, VetoReason.CHECK_ERROR, detail)
    return Approved(order, _SEAL)
