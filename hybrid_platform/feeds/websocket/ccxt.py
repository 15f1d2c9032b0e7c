"""Connection to an exchange through ccxt.pro (the extra ``ccxt``, imported when it is used; S2).

in: trades from ccxt · out: each delivery to a `TransportListener` as a frame, a JSON list of ccxt's unified
trades, so that recording, decoding and accounting work as for any other venue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.feeds.websocket.parsing import make_sample, to_json
from hybrid_platform.feeds.websocket.transport import CLOSE_TIMEOUT_S, Disconnect, TransportListener, describe_error
from hybrid_platform.settings.websocket import FeedSource

_TRADE_KEYS = ("symbol", "id", "price", "amount", "timestamp", "side")


class CcxtTransport:
    """A `Transport` over ccxt.pro that turns each delivery into a frame."""

    def __init__(self, source: FeedSource, *, allow_insecure: bool) -> None:
        self._source = source
        self._exchange_class = _find_exchange_class(source.exchange or "")
        self._allow_insecure = allow_insecure
        self.endpoint = f"ccxt:{source.exchange}"

    async def run(self, listener: TransportListener) -> Disconnect:
        """Load the markets, then watch every symbol until one of them fails."""
        import ccxt

        exchange = self._exchange_class({**self._source.options, "newUpdates": True})
        exchange.number, exchange.verify = str, True
        try:
            if not self._allow_insecure and (url := _find_insecure_url(exchange.urls)):
                return Disconnect("refused", f"a plain connection to another machine: {make_sample(url)}")
            await exchange.load_markets()
            listener.on_open()
            return await self._watch_all(exchange.watch_trades, listener)
        except ccxt.NetworkError as error:
            return Disconnect("drop", describe_error(error))
        except ccxt.BaseError as error:
            return Disconnect("refused", describe_error(error))
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await exchange.close()

    async def _watch_all(
        self, watch: Callable[[str], Awaitable[list[Mapping[str, Any]]]], listener: TransportListener
    ) -> Disconnect:
        async def watch_symbol(symbol: str) -> Disconnect:
            while True:
                trades = [{key: trade.get(key) for key in _TRADE_KEYS} for trade in await watch(symbol)]
                if reason := listener.on_frame(to_json(trades), binary=False):
                    return Disconnect("venue", reason)

        tasks = [asyncio.create_task(watch_symbol(symbol)) for symbol in self._source.symbols]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _find_exchange_class(exchange: str) -> Callable[[dict[str, Any]], Any]:
    """Return the exchange's class; raise ConfigError if ccxt is not installed or does not support it."""
    try:
        import ccxt.pro
    except ImportError:
        expected = "the extra `ccxt` (pip install 'hybrid-platform[ccxt]')"
        raise ConfigError([Fault("feed.websocket.sources", expected, "not installed")]) from None
    if exchange not in ccxt.pro.exchanges:
        raise ConfigError([Fault("feed.websocket.sources.exchange", "an exchange of ccxt.pro", exchange)])
    return getattr(ccxt.pro, exchange)  # type: ignore[no-any-return]


def _find_insecure_url(urls: object) -> str | None:
    """Return one of ccxt's URLs that is neither encrypted nor on this machine, if there is one."""
    if isinstance(urls, Mapping):
        urls = list(urls.values())
    if isinstance(urls, list):
        return next((found for url in urls if (found := _find_insecure_url(url))), None)
    if isinstance(urls, str) and urls.startswith(("ws:", "http:")):
        host = urlsplit(urls).hostname or ""
        return None if host == "localhost" or host.startswith("127.") or host == "::1" else urls
    return None
