"""Orders, their rows and fills for the tests of live execution and its order guard."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.orders import OrderRecord, OrderStatus, OrderType, Side, TimeInForce
from hybrid_platform.trading.order import Fill, Order, Report

ARMED = Decimal(1_000)
"""The maximum notional."""
PRICE = 100


def a_table() -> InstrumentTable:
    table = InstrumentTable()
    table.intern("TEST", "AAA")
    table.intern("TEST", "BBB")
    return table


def an_order(number: int = 1, qty: object = 1, side: Side = Side.BUY, **terms: Any) -> Order:
    given = {
        "order_id": f"O{number}", "signal_id": f"S{number}", "seq": number, "index": 0, "instrument": a_table()[0],
        "side": side, "type": OrderType.MARKET, "qty": Decimal(str(qty)), "reference_price": Decimal(PRICE),
        "limit_price": None, "time_in_force": TimeInForce.GTC, "expires_at": None, "reduce_only": False, "ts": 1,
    }  # fmt: skip
    return Order(**{**given, **terms})


def row_of(order: Order, **changed: Any) -> OrderRecord:
    fields = {
        "order_id": order.order_id, "signal_id": order.signal_id, "seq": order.seq, "venue": order.instrument.venue,
        "symbol": order.instrument.symbol, "side": order.side, "type": order.type, "qty": order.qty,
        "price": order.reference_price if order.limit_price is None else order.limit_price,
        "time_in_force": order.time_in_force, "reduce_only": order.reduce_only, "status": OrderStatus.SUBMITTED,
        "is_shadow": False, "ts": order.ts,
    }  # fmt: skip
    return OrderRecord(**{**fields, **changed})


def a_fill(number: Any = 1, qty: Any = 1, price: Any = 100, fees: Any = 0, **fields: Any) -> Report:
    amounts = [value if value is None else Decimal(str(value)) for value in (qty, price, fees)]
    return Report("O1", fields.get("status", OrderStatus.FILLED), "VENUE", 0, Fill(number, *amounts))
