"""Frames for a `LocalVenue` to send: generated or recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from hybrid_platform.domain.clocks import NS_PER_MS, Clock, SystemClock
from hybrid_platform.feeds.files.sources import find_sources
from hybrid_platform.feeds.websocket.playback import read_frames


def binance_trades(
    symbols: Sequence[str] = ("BTCUSDT",), *, seed: int = 7, first_id: int = 1, clock: Clock | None = None
) -> Iterator[str]:
    """Yield endless trades of Binance spot: ids increase per symbol, prices walk at random, times are the clock's."""
    random, now = Random(seed), clock or SystemClock()  # noqa: S311 (randomness of a test)
    cents = dict.fromkeys(symbols, 6_000_000)
    number = first_id
    while True:
        for symbol in symbols:
            cents[symbol] = max(1, cents[symbol] + random.randint(-50, 50))
            price = f"{cents[symbol] // 100}.{cents[symbol] % 100:02d}000000"
            ms = now.wall_ns() // NS_PER_MS
            yield (
                f'{{"stream":"{symbol.lower()}@trade","data":{{"e":"trade","E":{ms},"s":"{symbol}","t":{number},'
                f'"p":"{price}","q":"0.{random.randint(1, 99_999):05d}000","T":{ms},'
                f'"m":{"true" if random.random() < 0.5 else "false"},"M":true}}}}'
            )
        number += 1


def recorded_frames(path: str | Path) -> Iterator[str]:
    """Yield the text frames of a recording (`FrameRecorder`'s, hftbacktest's, or JSON lines)."""
    for source in find_sources([str(path)]):
        for recorded in read_frames(source):
            if not recorded.binary and not recorded.fault:
                yield recorded.frame.decode("utf-8", "replace")
