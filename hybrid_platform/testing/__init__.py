"""Tools for tests of the project and of its users: a local venue, a settable clock, a feed and a log in memory.

    with LocalVenue(binance_trades(["BTCUSDT"]), [[Send(100), Drop()], [Skip(5), Send()]]) as venue:
        feed = LiveFeed(WebsocketFeed(sources=({"venue": "binance", "symbols": ["BTCUSDT"], "url": venue.url},)), …)

See docs/live-data.md. The platform itself does not import this package.
"""

from __future__ import annotations

from hybrid_platform.testing.actions import (
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
    VenueAction,
)
from hybrid_platform.testing.clock import TestClock
from hybrid_platform.testing.feed import ListFeed, TickSpec
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
    "Refuse",
    "Repeat",
    "Reverse",
    "Send",
    "Skip",
    "Slow",
    "Stall",
    "TestClock",
    "TickSpec",
    "VenueAction",
    "binance_trades",
    "recorded_frames",
]
