"""Ids of sessions, signals, orders, and trades; within a session they follow from its input alone."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

from hybrid_platform.domain.clocks import NS_PER_S

SESSION_ID_PATTERN = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")


def make_session_id(wall_ns: int, run_id: str) -> str:
    """Return a session id such as ``20260102T030405Z-1a2b3c4d``: sortable by time, with a digest of the run id."""
    stamp = datetime.fromtimestamp(wall_ns // NS_PER_S, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{stamp}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


def make_signal_id(seq: int, ordinal: int = 1) -> str:
    """Return the id of the ``ordinal``-th signal that the tick ``seq`` caused: ``S27``, ``S27.2``."""
    return f"S{seq}" if ordinal == 1 else f"S{seq}.{ordinal}"


def make_order_id(signal_id: str) -> str:
    """Return the client order id of a signal's order: ``S27`` -> ``O27``."""
    return "O" + signal_id[1:]


def make_trade_id(order_id: str, fill: int) -> str:
    """Return the id of an order's ``fill``-th fill: ``O27`` -> ``T27-1``."""
    return f"T{order_id[1:]}-{fill}"
