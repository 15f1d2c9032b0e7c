"""A local venue for orders, and the live adapter that connects to it: lines of JSON over a loopback socket.

* `OrderVenue`: keeps every received message, and answers as its ``behaviour`` says.
* `fills_in_two`, `rests`, `by_turns`: behaviours.
* `LoopbackAdapter`: the adapter that a test installs as an entry point.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, ClassVar

from hybrid_platform.domain.orders import OrderStatus
from hybrid_platform.trading.order import Fill, Order, Report
from hybrid_platform.trading.risk.engine import Approved, require_approved

Message = dict[str, Any]
Behaviour = Callable[[int, Message], list[Message]]
"""From the number of an order and its message to the immediate answers."""


def fill(order: Message, number: int, qty: Decimal, *, last: bool) -> Message:
    status = "FILLED" if last else "PARTIALLY_FILLED"
    given = {"number": number, "qty": str(qty), "price": order["price"], "fees": "0.01"}
    return {"order_id": order["order_id"], "status": status, "fill": given}


def fills_in_two(number: int, order: Message) -> list[Message]:
    """Accept every order and fill it in two parts; report the first fill twice."""
    half = Decimal(order["qty"]) / 2
    first = fill(order, 1, half, last=False)
    return [{"order_id": order["order_id"], "status": "ACCEPTED"}, first, first, fill(order, 2, half, last=True)]


def rests(number: int, order: Message) -> list[Message]:
    """Accept every order and let it rest."""
    return [{"order_id": order["order_id"], "status": "ACCEPTED"}]


def by_turns(number: int, order: Message) -> list[Message]:
    """Fill, let rest and reject orders in turn."""
    refused = [{"order_id": order["order_id"], "status": "REJECTED"}]
    return (fills_in_two(number, order), rests(number, order), refused)[number % 3]


class OrderVenue:
    """A server on 127.0.0.1, open within its context."""

    def __init__(self, behaviour: Behaviour, *, obeys_cancels: bool = True) -> None:
        self.received: list[Message] = []
        self.ended = 0
        """Number of connections that the client closed."""
        self._behaviour = behaviour
        self._obeys_cancels = obeys_cancels
        self._resting: dict[str, Message] = {}
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def of(self, kind: str) -> list[Message]:
        return [message for message in self.received if message["kind"] == kind]

    def __enter__(self) -> OrderVenue:
        LoopbackAdapter.address = self._server.getsockname()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            # The file only reads: one for both directions discards its read-ahead buffer at each write.
            with connection, connection.makefile("r") as lines:
                for line in lines:
                    answers = "".join(json.dumps(answer) + "\n" for answer in self._take(json.loads(line)))
                    connection.sendall(answers.encode())
                self.ended += 1

    def _take(self, message: Message) -> Iterator[Message]:
        self.received.append(message)
        order_id = message.get("order_id", "")
        if message["kind"] == "submit":
            answers = self._behaviour(len(self.of("submit")) - 1, message)
            if answers[-1]["status"] == "ACCEPTED":
                self._resting[order_id] = message
            yield from answers
        elif message["kind"] == "cancel" and self._obeys_cancels and self._resting.pop(order_id, None):
            yield {"order_id": order_id, "status": "CANCELED"}


class LoopbackAdapter:
    """A live adapter with one account and one connection."""

    address: ClassVar[tuple[str, int]] = ("127.0.0.1", 9)

    def __init__(self, account: str, max_notional_usd: Decimal) -> None:
        self._account = account
        self._pending = b""

    def open(self, session_id: str) -> None:
        self._socket = socket.create_connection(self.address, 5)
        self._send(kind="open", account=self._account, session_id=session_id)

    def submit(self, approved: Approved[Order], now: int) -> None:
        order = require_approved(approved)
        price = order.reference_price if order.limit_price is None else order.limit_price
        self._send(
            kind="submit",
            order_id=order.order_id,
            symbol=order.instrument.symbol,
            side=order.side.value,
            qty=str(order.qty),
            price=str(price),
        )

    def cancel(self, order_id: str, now: int) -> None:
        self._send(kind="cancel", order_id=order_id)

    def reports(self) -> list[Report]:
        self._socket.setblocking(False)
        try:
            while piece := self._socket.recv(65_536):
                self._pending += piece
        except BlockingIOError:
            pass
        finally:
            self._socket.setblocking(True)
        *whole, self._pending = self._pending.split(b"\n")
        return [_report(json.loads(line)) for line in whole]

    def close(self, now: int) -> list[Report]:
        last = self.reports()
        self._socket.close()
        return last

    def _send(self, **message: Any) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")


def _report(message: Message) -> Report:
    given = message.get("fill")
    numbers = ("qty", "price", "fees")
    fill = None if given is None else Fill(given["number"], *(Decimal(given[name]) for name in numbers))
    return Report(message["order_id"], OrderStatus(message["status"]), "VENUE", 0, fill)
