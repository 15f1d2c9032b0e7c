"""Why a signal was not allowed to become an order. The tables, docs and report read this enum."""

from __future__ import annotations

from enum import StrEnum


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
    """The instrument has not been seen, or its quote has no stated USD rate."""
    CHECK_ERROR = "CHECK_ERROR"
    """A check raised: what cannot be judged is denied."""
