"""Tools for tests, the project's and its users': a venue to connect to, a clock to set, a feed to fill.

    with LocalVenue(binance_trades(["BTCUSDT"]), [[Send(100), Drop()], [Skip(5), Send()]]) as venue:
        feed = LiveFeed(WebsocketFeed(sources=({"venue": "binance", "symbols": ["BTCUSDT"], "url": venue.url},)), …)

See docs/live-data.md. Nothing of the platform imports this.
"""

from __future__ import annotations

from hybrid_platform.testing.clock import TestClock
from hybrid_platform.testing.faults import (
    Bomb,
    Close,
    Drop,
    Fragments,
    Garbage,
    Huge,
    NoPong,
    NotUtf8,
    PingFlood,
    Refuse,
    Repeat,
    Reverse,
    Send,
    Skip,
    Slow,
    Stall,
    Step,
)
from hybrid_platform.testing.feed import ListFeed, Quick
from hybrid_platform.testing.frames import binance_trades, recorded_frames
from hybrid_platform.testing.log import ListLog
from hybrid_platform.testing.venue import LocalVenue

__all__ = [
    "Bomb",
    "Close",
    "Drop",
    "Fragments",
    "Garbage",
    "Huge",
    "ListFeed",
    "ListLog",
    "LocalVenue",
    "NoPong",
    "NotUtf8",
    "PingFlood",
    "Quick",
    "Refuse",
    "Repeat",
    "Reverse",
    "Send",
    "Skip",
    "Slow",
    "Stall",
    "Step",
    "TestClock",
    "binance_trades",
    "recorded_frames",
]
