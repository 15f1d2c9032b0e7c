"""Live execution as the engine sees it, and the interface of a live adapter; none ships (S14, L1).

An installed package offers an adapter as an entry point in the group ``hybrid_platform.live_adapters``: a class
that the LIVE gate instantiates, with account and maximum notional, once every condition holds. It lives in the
host process. The engine, in the sandboxed process, only queues `OrderRequest`s and receives reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar, Protocol

import msgspec

from hybrid_platform.domain.orders import InputKind, InputRecord
from hybrid_platform.trading.order import Order, Report
from hybrid_platform.trading.risk.engine import Approved, require_approved


class LiveAdapter(Protocol):
    """A connection to a real venue. It receives approved orders only, and reports what became of them.

    One thread calls it, and abandons a call that takes longer than ``gates.live.call_seconds``. An exception that
    it raises, or a report that does not belong to an order of this session, ends the session.
    """

    def __init__(self, account: str, max_notional_usd: Decimal) -> None:
        """Prepare for one account; open no connection yet."""

    def open(self, session_id: str) -> None:
        """Connect, before the first tick. Order ids are unique within the session only."""

    def submit(self, approved: Approved[Order], now: int) -> None:
        """Send an order (see `require_approved`); ``now`` is the wall clock in nanoseconds."""

    def cancel(self, order_id: str, now: int) -> None:
        """Request a cancel; a request that finds no open order has no effect."""

    def reports(self) -> Sequence[Report]:
        """Return the venue's reports since the last call, without waiting for more."""

    def close(self, now: int) -> Sequence[Report]:
        """End the connection; return the last reports."""


METHODS = ("open", "submit", "cancel", "reports", "close")


class SubmitOrder(msgspec.Struct, frozen=True, tag="submit"):
    """Request to send an order that the engine approved; the order's row was sent before."""

    order: Order


class CancelOrder(msgspec.Struct, frozen=True, tag="cancel"):
    """Request to cancel an order."""

    order_id: str


OrderRequest = SubmitOrder | CancelOrder


class Outbox:
    """The engine's adapter in LIVE: queues order requests until they are carried out of the sandboxed process.

    It holds a list, and no way to a network. Owned by the engine.
    """

    orders_outlive_session: ClassVar[bool] = True

    def __init__(self) -> None:
        self._requests: list[OrderRequest] = []

    def submit(self, approved: Approved[Order], now: int) -> None:
        """Queue an approved order."""
        self._requests.append(SubmitOrder(require_approved(approved)))

    def cancel(self, order_id: str, now: int) -> None:
        """Queue a cancel."""
        self._requests.append(CancelOrder(order_id))

    def close(self, now: int) -> tuple[Report, ...]:
        """Return no reports: they arrive as inputs of the engine."""
        return ()

    def drain(self) -> tuple[OrderRequest, ...]:
        """Return the requests since the last call, in order."""
        requests, self._requests = tuple(self._requests), []
        return requests


def encode_report(report: Report) -> str:
    """Return the journal's JSON of a report, the form that `decode_report` reads."""
    return msgspec.json.encode(report, order="sorted").decode()


def decode_report(entry: InputRecord) -> Report | None:
    """Return the report in a journal entry, or None if the entry is not of kind REPORT.

    Raises ValueError if the entry's detail does not have the form that `encode_report` writes.
    """
    if entry.kind is not InputKind.REPORT:
        return None
    try:
        return msgspec.json.decode(entry.detail, type=Report)
    except msgspec.MsgspecError as error:
        raise ValueError(f"inputs n={entry.n}: expected a venue's report, got {entry.detail[:80]!r}") from error
