"""What the strategy wants, what became of it, and every step between: the audit records.

Each record is one row of its table (SPEC 10), in the order in which it happened. Numbers are exact
Decimals, times session-clock nanoseconds. They are frozen, and small enough to cross a pipe.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

import msgspec

from hybrid_platform.domain.decimals import parse_decimal
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.ticks import Tick, TickBatch


class Side(StrEnum):
    """What an order does."""

    BUY = "BUY"
    SELL = "SELL"


class OrderType(StrEnum):
    """How an order is priced."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"


class TimeInForce(StrEnum):
    """How long an order may rest: until cancelled, until a date, or not at all."""

    GTC = "GTC"
    GTD = "GTD"
    IOC = "IOC"
    FOK = "FOK"


class OrderStatus(StrEnum):
    """States of an order (DESIGN 5)."""

    # Enum hashes in Python, three times slower; the state machine hashes several times an order.
    __hash__ = str.__hash__

    INITIALIZED = "INITIALIZED"
    SUBMITTED = "SUBMITTED"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    PENDING_CANCEL = "PENDING_CANCEL"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"


class VetoReason(StrEnum):
    """One code per pre-trade check; the detail of a veto says limit and value."""

    RISK_CAP = "RISK_CAP"
    """Total exposure, per-symbol exposure or open orders would exceed its cap (I2)."""
    STALE_DATA = "STALE_DATA"
    """The market data behind the signal is older than ``max_staleness_ms`` (S7)."""
    DUPLICATE_SIGNAL = "DUPLICATE_SIGNAL"
    """The same signal again (I3)."""
    INVALID_SIGNAL = "INVALID_SIGNAL"
    """Not an order anybody could place: size not above zero, missing limit price …"""
    UNKNOWN_INSTRUMENT = "UNKNOWN_INSTRUMENT"
    """The instrument has not been seen, is not active, or its quote has no stated USD rate."""
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    """The signal asks to cancel an order that is not open."""
    PRICE_INCREMENT = "PRICE_INCREMENT"
    """The limit price is no multiple of the instrument's stated price increment."""
    SIZE_INCREMENT = "SIZE_INCREMENT"
    """The quantity is no multiple of the instrument's stated size increment."""
    QUANTITY_LIMIT = "QUANTITY_LIMIT"
    """The quantity is outside the instrument's stated minimum and maximum."""
    NOTIONAL_LIMIT = "NOTIONAL_LIMIT"
    """The notional is outside the instrument's stated minimum and maximum."""
    ORDER_NOTIONAL = "ORDER_NOTIONAL"
    """One order's notional in USD would exceed ``max_order_notional_usd``."""
    PRICE_COLLAR = "PRICE_COLLAR"
    """The limit price is further from the last price than ``price_collar_bps``."""
    REDUCE_ONLY = "REDUCE_ONLY"
    """A reduce-only order would not make the position smaller."""
    ORDER_RATE = "ORDER_RATE"
    """More orders than ``max_orders_per_second`` and ``order_burst`` allow."""
    DAILY_LOSS = "DAILY_LOSS"
    """The loss since midnight UTC is beyond ``max_daily_loss_usd``; only reducing orders pass."""
    DRAWDOWN = "DRAWDOWN"
    """Equity is further below its peak than ``max_drawdown_usd``; only reducing orders pass."""
    REDUCING = "REDUCING"
    """Trading state REDUCING: only reducing orders pass."""
    HALTED = "HALTED"
    """Trading state HALTED: nothing passes until a person resumes."""
    CHECK_ERROR = "CHECK_ERROR"
    """A check raised: what cannot be judged is denied."""


class Signal(msgspec.Struct, frozen=True):
    """What the strategy wants, at the tick that made it want it.

    A strategy makes one with `buy` or `sell`; the platform stamps ``signal_id`` and ``ts``.
    """

    seq: int
    """The tick that caused it."""
    instrument: Instrument
    side: Side
    size: Decimal
    confidence: float
    """0 … 1, the strategy's own."""
    reason: str
    reference_price: Decimal
    """The price of the tick that caused it."""
    type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expires_at: int | None = None
    """Session-clock nanoseconds, for GTD."""
    reduce_only: bool = False
    cancels: str | None = None
    """An order id: this signal asks to cancel it, and places nothing."""
    signal_id: str = ""
    ts: int = 0
    """The session clock when it was made."""


def _signal(side: Side, tick: Tick, size: object, reason: str, confidence: float, **terms: object) -> Signal:
    return Signal(tick.seq, tick.instrument, side, parse_decimal(size), confidence, reason, tick.price, **terms)  # type: ignore[arg-type]


def buy(tick: Tick, size: object, reason: str, confidence: float = 0.75, **terms: object) -> Signal:
    """Return a signal to buy ``size`` (int, float, str or Decimal, in base units) of the tick's instrument.

    ``terms`` are the order terms of `Signal`: ``type``, ``limit_price``, ``time_in_force`` …
    Raises ValueError where the size is no finite decimal number.
    """
    return _signal(Side.BUY, tick, size, reason, confidence, **terms)


def sell(tick: Tick, size: object, reason: str, confidence: float = 0.75, **terms: object) -> Signal:
    """Return a signal to sell; see `buy`."""
    return _signal(Side.SELL, tick, size, reason, confidence, **terms)


class AuditRecord(msgspec.Struct, frozen=True, gc=False, tag_field="record"):
    """What must never be evicted on its way to the database; tagged, so that it can cross a pipe."""


class SignalRecord(AuditRecord, frozen=True, tag="signal"):
    """One row of ``signals``."""

    signal_id: str
    seq: int
    venue: str
    symbol: str
    side: Side
    size: Decimal
    confidence: float
    reason: str
    ts: int


class VetoRecord(AuditRecord, frozen=True, tag="veto"):
    """One row of ``vetoes``: the signal became no order."""

    signal_id: str
    seq: int
    venue: str
    symbol: str
    reason: VetoReason
    detail: str
    ts: int


class OrderRecord(AuditRecord, frozen=True, tag="order"):
    """One row of ``orders``; a later one with the same id replaces ``status`` and nothing else."""

    order_id: str
    signal_id: str
    seq: int
    venue: str
    symbol: str
    side: Side
    type: OrderType
    qty: Decimal
    price: Decimal | None
    """Limit price; for a market order the reference price it was judged at."""
    time_in_force: TimeInForce
    reduce_only: bool
    status: OrderStatus
    is_shadow: bool
    ts: int


class OrderEventRecord(AuditRecord, frozen=True, tag="order_event"):
    """One row of ``order_events``; ``n`` counts within the session."""

    n: int
    order_id: str
    status: OrderStatus
    reason: str
    ts: int


class TradeRecord(AuditRecord, frozen=True, tag="trade"):
    """One row of ``trades``: one fill; ``n`` counts within the session."""

    n: int
    trade_id: str
    order_id: str
    venue: str
    symbol: str
    side: Side
    fill_qty: Decimal
    fill_price: Decimal
    fees: Decimal
    """In quote currency; above zero is paid."""
    is_shadow: bool
    ts: int


class InputKind(StrEnum):
    """What was not a tick and changed a decision."""

    DROP = "DROP"
    """Ticks that the strategy did not see: detail ``{"first": seq, "last": seq}``."""
    TIMER = "TIMER"
    COMMAND = "COMMAND"
    """An operator's or an automatic halt, reduce or resume: who and why in the detail."""
    REPORT = "REPORT"
    """What a live venue said of an order, as the detail has it."""
    LATE_DECISION = "LATE_DECISION"
    """A signal decided later after receipt than ``max_staleness_ms``: ``ts`` is the instant."""


class InputRecord(AuditRecord, frozen=True, tag="input"):
    """One row of ``inputs``, journalled by the stage that it reached; execution numbers them."""

    n: int
    after_seq: int
    """The last tick that the stage had worked on."""
    kind: InputKind
    ts: int
    detail: str
    """JSON."""


class HeartbeatRecord(AuditRecord, frozen=True, tag="heartbeat"):
    """One row of ``heartbeats`` (G4)."""

    n: int
    """0 at the start of the session, then 1, 2, 3 …"""
    ts: int
    """Wall clock, nanoseconds."""
    late_ms: int
    """How long after it was due, by the monotonic clock."""
    is_late: bool
    detail: str
    """The counters of that moment, JSON."""


class GapRecord(AuditRecord, frozen=True, tag="gap"):
    """One row of ``gaps``: ticks that a live venue had and this session did not get (S3)."""

    n: int
    """1, 2, 3 … within the session."""
    venue: str
    symbol: str
    """``*`` where the venue's message counter jumped and does not say whose trades were lost."""
    from_id: str | None
    """The last id seen before (a trade's, or with ``*`` the message counter); None where there was none."""
    to_id: str | None
    """The first one after; None where nothing came any more."""
    missing: int | None
    """How many trades lie between, where the venue's ids are contiguous; None: cannot be known."""
    cause: str
    """What broke the stream: ``trade_id`` or ``sequence`` (a jump on a living connection), else why it ended."""
    ts_from: int
    """Event time of the last trade before, nanoseconds; 0 where there was none."""
    ts_to: int
    """Event time of the first trade after; 0 where there was none."""
    ts: int
    """When it was found: the receive time of the frame that showed it."""


Record = (
    SignalRecord | VetoRecord | OrderRecord | OrderEventRecord | TradeRecord | InputRecord | HeartbeatRecord | GapRecord
)
"""Anything that must never be evicted on its way to the database."""


class DecisionStep(NamedTuple):
    """Strategy -> execution: the ticks that were looked at, and what the strategy wanted at them.

    Execution needs the ticks for its marks and its fills; only signals count as events.
    """

    ticks: TickBatch
    signals: tuple[Signal, ...]
    inputs: tuple[InputRecord, ...] = ()
    """Journal entries the strategy stage made before these ticks (holes, timers), in order, with ``n`` 0."""
    timer: int | None = None
    """A timer's instant: the session clock moves there, after the (then empty) ticks."""
