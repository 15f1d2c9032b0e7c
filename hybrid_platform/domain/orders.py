"""Signals, the steps that carry them to execution, and the audit records of everything that follows (S10).

Each record is one row of its table (see docs/contract.md); records are kept in the order of their events.
Numbers are exact Decimals, times session-clock nanoseconds. Records are frozen, and can cross a pipe.
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
    """Direction of an order."""

    BUY = "BUY"
    SELL = "SELL"


class OrderType(StrEnum):
    """Pricing of an order."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"


class TimeInForce(StrEnum):
    """How long an order may rest: until canceled (GTC), until a date (GTD), or not at all (IOC, FOK)."""

    GTC = "GTC"
    GTD = "GTD"
    IOC = "IOC"
    FOK = "FOK"


class OrderStatus(StrEnum):
    """States of an order; `trading.states` has the transitions."""

    # Enum's own hash is Python code and three times slower; the state machine hashes several times per order.
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
    """Why a signal was vetoed, that is, denied by risk: one code per pre-trade check.

    The detail of a veto names limit and value. The tables, the docs and the report read this enum.
    """

    RISK_CAP = "RISK_CAP"
    """Total exposure, per-symbol exposure or open orders would exceed its cap (I2)."""
    STALE_DATA = "STALE_DATA"
    """The market data behind the signal is older than ``max_staleness_ms`` (S7)."""
    DUPLICATE_SIGNAL = "DUPLICATE_SIGNAL"
    """The same signal again (I3)."""
    INVALID_SIGNAL = "INVALID_SIGNAL"
    """The order is not valid: its size is not above zero, its limit price is missing, …"""
    UNKNOWN_INSTRUMENT = "UNKNOWN_INSTRUMENT"
    """The instrument has not been seen, is not active, or its quote has no stated USD rate."""
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    """The signal asks to cancel an order that is not open."""
    PRICE_INCREMENT = "PRICE_INCREMENT"
    """The limit price is not a multiple of the instrument's stated price increment."""
    SIZE_INCREMENT = "SIZE_INCREMENT"
    """The quantity is not a multiple of the instrument's stated size increment."""
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
    """Trading state HALTED: nothing passes until an operator resumes."""
    CHECK_ERROR = "CHECK_ERROR"
    """A check raised: an order that cannot be judged is denied."""


class Signal(msgspec.Struct, frozen=True):
    """A strategy's request to trade, or to cancel an order, at a tick.

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
    """An order id: this signal requests its cancel, and places no order."""
    signal_id: str = ""
    ts: int = 0
    """The session clock when it was made."""


def _signal(side: Side, tick: Tick, size: object, reason: str, confidence: float, **terms: object) -> Signal:
    return Signal(tick.seq, tick.instrument, side, parse_decimal(size), confidence, reason, tick.price, **terms)  # type: ignore[arg-type]


def buy(tick: Tick, size: object, reason: str, confidence: float = 0.75, **terms: object) -> Signal:
    """Return a signal to buy ``size`` (int, float, str or Decimal, in base units) of the tick's instrument.

    ``terms`` are the order terms of `Signal`: ``type``, ``limit_price``, ``time_in_force`` …
    Raises ValueError if the size is not a finite decimal number.
    """
    return _signal(Side.BUY, tick, size, reason, confidence, **terms)


def sell(tick: Tick, size: object, reason: str, confidence: float = 0.75, **terms: object) -> Signal:
    """Return a signal to sell; see `buy`."""
    return _signal(Side.SELL, tick, size, reason, confidence, **terms)


class AuditRecord(msgspec.Struct, frozen=True, gc=False, tag_field="record"):
    """Base class of the rows that are never evicted on their way to the database; tagged for crossing a pipe."""


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
    """Kinds of input other than ticks that change decisions."""

    DROP = "DROP"
    """Ticks that the strategy did not receive: detail ``{"first": seq, "last": seq}``."""
    TIMER = "TIMER"
    COMMAND = "COMMAND"
    """An operator's or an automatic halt, reduce or resume; the detail has who and why."""
    REPORT = "REPORT"
    """A live venue's report about an order; the detail has the report."""
    LATE_DECISION = "LATE_DECISION"
    """A signal decided more than ``max_staleness_ms`` after receipt; ``ts`` is the instant of the decision."""


class InputRecord(AuditRecord, frozen=True, tag="input"):
    """One row of ``inputs``, journalled by the stage that received the input and numbered by execution."""

    n: int
    after_seq: int
    """The last tick that the stage had processed."""
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
    """Delay after the due time, by the monotonic clock."""
    is_late: bool
    detail: str
    """The counters at that moment, JSON."""


class GapRecord(AuditRecord, frozen=True, tag="gap"):
    """One row of ``gaps``: trades of a live venue that this session did not receive (S3)."""

    n: int
    """1, 2, 3 … within the session."""
    venue: str
    symbol: str
    """``*`` if only the venue's message counter jumped, so that the instrument is unknown."""
    from_id: str | None
    """The last id before the gap (a trade's, or with ``*`` the message counter); None if there was none."""
    to_id: str | None
    """The first id after the gap; None if no trade followed."""
    missing: int | None
    """The number of missing trades, if the venue's ids are contiguous; None: unknown."""
    cause: str
    """``trade_id`` or ``sequence`` (a jump within a connection), else the reason why the connection ended."""
    ts_from: int
    """Event time of the last trade before, nanoseconds; 0 if there was none."""
    ts_to: int
    """Event time of the first trade after; 0 if there was none."""
    ts: int
    """Receive time of the frame that showed the gap."""


Record = (
    SignalRecord | VetoRecord | OrderRecord | OrderEventRecord | TradeRecord | InputRecord | HeartbeatRecord | GapRecord
)
"""Any audit record."""


class DecisionStep(NamedTuple):
    """Strategy -> execution: ticks that the strategy has processed, with its signals at them.

    Execution needs the ticks for last prices and fills; only signals count as events.
    """

    ticks: TickBatch
    signals: tuple[Signal, ...]
    inputs: tuple[InputRecord, ...] = ()
    """Journal entries of the strategy stage before these ticks (holes, timers), in order, with ``n`` 0."""
    timer: int | None = None
    """A timer's instant, to which the session clock moves; the ticks are then empty."""
