"""The order state machine as data: one table of allowed transitions (S10).

A fill is a fact. If it arrives after the order was closed, because the report of the cancel overtook it, the order
manager applies it and then records the closed state again. A transition that is not in the table is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.domain.orders import OrderStatus

_S = OrderStatus

ALLOWED: Mapping[OrderStatus, Mapping[OrderStatus, str]] = {
    _S.INITIALIZED: {
        _S.SUBMITTED: "risk approved it, and it is on its way to the venue",
    },
    _S.SUBMITTED: {
        _S.ACCEPTED: "the venue accepted it",
        _S.REJECTED: "the venue rejected it",
        _S.PARTIALLY_FILLED: "the fill's report overtook the acceptance",
        _S.FILLED: "the fill's report overtook the acceptance",
        _S.PENDING_CANCEL: "a cancel was requested before the venue answered",
        _S.CANCELED: "canceled before the venue answered",
        _S.EXPIRED: "it expired before the venue answered",
    },
    _S.ACCEPTED: {
        _S.PARTIALLY_FILLED: "a part was executed",
        _S.FILLED: "all was executed",
        _S.PENDING_CANCEL: "a cancel was requested",
        _S.CANCELED: "canceled by the venue or at the session's end",
        _S.EXPIRED: "its time in force ended",
    },
    _S.PARTIALLY_FILLED: {
        _S.PARTIALLY_FILLED: "another part was executed",
        _S.FILLED: "the rest was executed",
        _S.PENDING_CANCEL: "a cancel of the rest was requested",
        _S.CANCELED: "the rest was canceled",
        _S.EXPIRED: "the rest's time in force ended",
    },
    _S.PENDING_CANCEL: {
        _S.ACCEPTED: "race: the venue accepted the order, the cancel is still on its way",
        _S.REJECTED: "race: the venue rejected the order before the cancel reached it",
        _S.PARTIALLY_FILLED: "race: a part was executed before the cancel reached the venue",
        _S.FILLED: "race: all was executed before the cancel reached the venue",
        _S.CANCELED: "the cancel was carried out",
        _S.EXPIRED: "race: its time in force ended first",
    },
    _S.CANCELED: {
        _S.PARTIALLY_FILLED: "race: a late fill; the order is then CANCELED again",
        _S.FILLED: "race: a late fill of all that remained",
    },
    _S.EXPIRED: {
        _S.PARTIALLY_FILLED: "race: a late fill; the order is then EXPIRED again",
        _S.FILLED: "race: a late fill of all that remained",
    },
    _S.REJECTED: {},
    _S.FILLED: {},
}
"""From -> to -> when."""

CLOSED = frozenset({_S.REJECTED, _S.FILLED, _S.CANCELED, _S.EXPIRED})
"""States in which nothing rests at the venue."""


Lifecycle = tuple[tuple[OrderStatus, str], ...]
"""All states of an order with their reasons, from INITIALIZED to a closed state."""


class IllegalTransitionError(PlatformError):
    """A report that does not fit the order's state: the venue or this program is wrong."""


def transition(order_id: str, before: OrderStatus, after: OrderStatus) -> OrderStatus:
    """Return ``after``; raise IllegalTransitionError if the table does not allow the transition."""
    if after not in ALLOWED[before]:
        expected = ", ".join(ALLOWED[before]) or "none (final)"
        raise IllegalTransitionError(f"order {order_id} in {before}: expected one of {expected}, got {after}")
    return after


def build_lifecycle(*steps: tuple[OrderStatus, str]) -> Lifecycle:
    """Return a whole lifecycle; raise IllegalTransitionError unless it leads from INITIALIZED to a closed state."""
    (first, _), (last, _) = steps[0], steps[-1]
    if first is not OrderStatus.INITIALIZED or last not in CLOSED:
        raise IllegalTransitionError(f"lifecycle: expected INITIALIZED to a closed state, got {first} to {last}")
    for (before, _), (after, _) in pairwise(steps):
        transition("of a lifecycle", before, after)
    return steps
