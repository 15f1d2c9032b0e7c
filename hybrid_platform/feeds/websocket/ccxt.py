"""One connection to an exchange through ccxt.pro (the extra ``ccxt``, imported when it is used; S2).

in: what ccxt hands over · out: each hand-over to a `Listener` as a frame, a JSON list of ccxt's
unified trades, so that recording, decoding and accounting are those of any other venue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.feeds.websocket.parsing import to_json
from hybrid_platform.feeds.websocket.sample import sample_of
from hybrid_platform.feeds.websocket.transport import CLOSE_S, Ended, Listener, text_of_error
from hybrid_platform.settings.websocket import FeedSource

_TRADE_KEYS = ("symbol", "id", "price", "amount", "timestamp", "side")


class CcxtTransport:
    """An exchange through ccxt.pro; what it hands over becomes a frame."""

    def __init__(self, source: FeedSource, *, allow_insecure: bool) -> None:
        self._source = source
        self._make = _ccxt_class(source.exchange or "")
        self._allow_insecure = allow_insecure
        self.where = f"ccxt:{source.exchange}"

    async def run(self, listener: Listener) -> Ended:
        """Load the markets, then watch each symbol until one of them fails."""
        import ccxt

        exchange = self._make({**self._source.options, "newUpdates": True})
        exchange.number, exchange.verify = str, True
        try:
            if not self._allow_insecure and (url := _plain_url(exchange.urls)):
                return Ended("refused", f"a plain connection to another machine: {sample_of(url)}")
            await exchange.load_markets()
            listener.opened()
            return await self._watch_all(exchange.watch_trades, listener)
        except ccxt.NetworkError as error:
            return Ended("drop", text_of_error(error))
        except ccxt.BaseError as error:
            return Ended("refused", text_of_error(error))
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await exchange.close()

    async def _watch_all(self, watch: Callable[[str], Awaitable[list[Mapping[str, Any]]]], listener: Listener) -> Ended:
        async def one(symbol: str) -> Ended:
            while True:
                trades = [{key: trade.get(key) for key in _TRADE_KEYS} for trade in await watch(symbol)]
                if why := listener.frame(to_json(trades), binary=False):
                    return Ended("venue", why)

        tasks = [asyncio.create_task(one(symbol)) for symbol in self._source.symbols]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _ccxt_class(exchange: str) -> Callable[[dict[str, Any]], Any]:
    """Return the exchange's class; raises ConfigError where ccxt is not installed or has none."""
    try:
        import ccxt.pro
    except ImportError:
        expected = "the extra `ccxt` (pip install 'hybrid-platform[ccxt]')"
        raise ConfigError([Fault("feed.websocket.sources", expected, "not installed")]) from None
    if exchange not in ccxt.pro.exchanges:
        raise ConfigError([Fault("feed.websocket.sources.exchange", "an exchange of ccxt.pro", exchange)])
    return getattr(ccxt.pro, exchange)  # type: ignore[no-any-return]


def _plain_url(urls: object) -> str | None:
    """Return a URL among ccxt's that is neither encrypted nor on this machine."""
    if isinstance(urls, Mapping):
        urls = list(urls.values())
    if isinstance(urls, list):
        return next((found for url in urls if (found := _plain_url(url))), None)
    if isinstance(urls, str) and urls.startswith(("ws:", "http:")):
        host = urlsplit(urls).hostname or ""
        return None if host == "localhost" or host.startswith("127.") or host == "::1" else urls
    return None
