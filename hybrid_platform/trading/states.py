"""The life of an order as data: one table of allowed transitions (S10, DESIGN 5).

A fill is a fact: where it comes after the order's end (a report overtaken by the cancel's), it is
taken, and the order's end is said again. Everything that is not in the table is impossible.
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
        _S.ACCEPTED: "the venue took it",
        _S.REJECTED: "the venue refused it",
        _S.PARTIALLY_FILLED: "the fill's report overtook the acceptance",
        _S.FILLED: "the fill's report overtook the acceptance",
        _S.PENDING_CANCEL: "a cancel was asked for before the venue answered",
        _S.CANCELED: "canceled before the venue answered",
        _S.EXPIRED: "its time ended before the venue answered",
    },
    _S.ACCEPTED: {
        _S.PARTIALLY_FILLED: "a part was executed",
        _S.FILLED: "all was executed",
        _S.PENDING_CANCEL: "a cancel was asked for",
        _S.CANCELED: "canceled by the venue or at the session's end",
        _S.EXPIRED: "its time in force ended",
    },
    _S.PARTIALLY_FILLED: {
        _S.PARTIALLY_FILLED: "another part was executed",
        _S.FILLED: "the rest was executed",
        _S.PENDING_CANCEL: "a cancel of the rest was asked for",
        _S.CANCELED: "the rest was canceled",
        _S.EXPIRED: "the rest's time in force ended",
    },
    _S.PENDING_CANCEL: {
        _S.ACCEPTED: "race: the venue took the order, the cancel is still on its way",
        _S.REJECTED: "race: the venue refused the order before the cancel reached it",
        _S.PARTIALLY_FILLED: "race: a part was executed before the cancel reached the venue",
        _S.FILLED: "race: all was executed before the cancel reached the venue",
        _S.CANCELED: "the cancel was carried out",
        _S.EXPIRED: "race: its time in force ended first",
    },
    _S.CANCELED: {
        _S.PARTIALLY_FILLED: "race: a late fill; the order is then CANCELED again",
        _S.FILLED: "race: a late fill of all that was left",
    },
    _S.EXPIRED: {
        _S.PARTIALLY_FILLED: "race: a late fill; the order is then EXPIRED again",
        _S.FILLED: "race: a late fill of all that was left",
    },
    _S.REJECTED: {},
    _S.FILLED: {},
}
"""From -> to -> when."""

CLOSED = frozenset({_S.REJECTED, _S.FILLED, _S.CANCELED, _S.EXPIRED})
"""States in which nothing rests at the venue."""


Lifecycle = tuple[tuple[OrderStatus, str], ...]
"""States and reasons in order: what the table allows, from beginning to end."""


class IllegalTransitionError(PlatformError):
    """An order was told to do what no order does: a venue's report or this program is wrong."""


def transition(order_id: str, before: OrderStatus, after: OrderStatus) -> OrderStatus:
    """Return ``after``; raise IllegalTransitionError where the table does not have it."""
    if after not in ALLOWED[before]:
        expected = ", ".join(ALLOWED[before]) or "none (final)"
        raise IllegalTransitionError(f"order {order_id} in {before}: expected one of {expected}, got {after}")
    return after


def life(*steps: tuple[OrderStatus, str]) -> Lifecycle:
    """Return a whole life, from INITIALIZED to a closed state; raise IllegalTransitionError where it is none."""
    (first, _), (last, _) = steps[0], steps[-1]
    if first is not OrderStatus.INITIALIZED or last not in CLOSED:
        raise IllegalTransitionError(f"a whole life: expected INITIALIZED to a closed state, got {first} to {last}")
    for (before, _), (after, _) in pairwise(steps):
        transition("of a whole life", before, after)
    return steps
