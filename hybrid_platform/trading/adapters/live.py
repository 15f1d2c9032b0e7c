"""The interface of a live execution adapter; none ships (S14, L1).

An installed package offers one as entry point in the group ``hybrid_platform.live_adapters``: a class that
the LIVE gate makes, with account and maximum notional, once every condition holds. It lives in the op's process.
Beside it, what the guarded process says of it: `SubmitOrder` and `CancelOrder` out, reports back in.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from hybrid_platform.domain.orders import InputKind, InputRecord
from hybrid_platform.trading.order import Order, Report
from hybrid_platform.trading.risk.engine import Approved


class LiveAdapter(Protocol):
    """A way to a real venue. It is given approved orders only, and says what became of them.

    One thread calls it, and gives up on a call that takes longer than ``gates.live.call_seconds``. Whatever it
    raises, and whatever it reports that is no report of an order of this session, ends the session.
    """

    def __init__(self, account: str, max_notional_usd: Decimal) -> None:
        """Be made for one account; open no connection yet."""

    def open(self, session_id: str) -> None:
        """Connect, before the first tick. Order ids are unique within the session alone."""

    def submit(self, approved: Approved[Order], now: int) -> None:
        """Send an order; ``now`` is the wall clock in nanoseconds."""

    def cancel(self, order_id: str, now: int) -> None:
        """Ask for a cancel; one that finds nothing to cancel has no effect."""

    def reports(self) -> Sequence[Report]:
        """Return what the venue has said since the last call, without waiting for more."""

    def close(self, now: int) -> Sequence[Report]:
        """End the connection; return the last reports."""


METHODS = ("open", "submit", "cancel", "reports", "close")


class SubmitOrder(msgspec.Struct, frozen=True, tag="submit"):
    """The engine approved an order; its row was sent before."""

    order: Order


class CancelOrder(msgspec.Struct, frozen=True, tag="cancel"):
    """The engine asks for a cancel."""

    order_id: str


OrderRequest = SubmitOrder | CancelOrder


class Outbox:
    """The engine's side of a live venue: what is to be sent waits here until it is carried out of the guarded process.

    It holds a list, and no way to a network.
    """

    def __init__(self) -> None:
        self._requests: list[OrderRequest] = []

    def submit(self, approved: Approved[Order], now: int) -> None:
        """Lay an approved order out."""
        self._requests.append(SubmitOrder(Approved.opened(approved)))

    def cancel(self, order_id: str, now: int) -> None:
        """Lay a cancel out."""
        self._requests.append(CancelOrder(order_id))

    def drain(self) -> tuple[OrderRequest, ...]:
        """Return the requests since the last call, in order."""
        requests, self._requests = tuple(self._requests), []
        return requests


def encode_report(report: Report) -> str:
    """Return the journal's JSON of a report, the form that `decode_report` reads."""
    return msgspec.json.encode(report, order="sorted").decode()


def decode_report(entry: InputRecord) -> Report | None:
    """Return the report in a journal entry (kind REPORT), or None where it is something else.

    Raises ValueError where the entry's detail is not what `encode_report` writes.
    """
    if entry.kind is not InputKind.REPORT:
        return None
    try:
        return msgspec.json.decode(entry.detail, type=Report)
    except msgspec.MsgspecError as error:
        raise ValueError(f"inputs n={entry.n}: expected a venue's report, got {entry.detail[:80]!r}") from error
