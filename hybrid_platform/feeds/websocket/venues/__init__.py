"""The venues: one file each, one interface (`Venue`)."""

from __future__ import annotations

from hybrid_platform.feeds.websocket.parsing import Venue
from hybrid_platform.feeds.websocket.venues.binance import Binance
from hybrid_platform.feeds.websocket.venues.bitstamp import Bitstamp
from hybrid_platform.feeds.websocket.venues.bybit_v5 import BybitV5
from hybrid_platform.feeds.websocket.venues.ccxt_pro import Ccxt
from hybrid_platform.feeds.websocket.venues.coinbase_advanced import CoinbaseAdvanced
from hybrid_platform.feeds.websocket.venues.coinbase_exchange import CoinbaseExchange
from hybrid_platform.feeds.websocket.venues.gemini_v2 import GeminiV2
from hybrid_platform.feeds.websocket.venues.generic import Generic
from hybrid_platform.feeds.websocket.venues.kraken_v2 import KrakenV2
from hybrid_platform.feeds.websocket.venues.okx_v5 import OkxV5
from hybrid_platform.settings.websocket import FrameFormat

VENUES: dict[str, type[Venue]] = {
    venue.name: venue
    for venue in (
        Binance,
        Bitstamp,
        BybitV5,
        Ccxt,
        CoinbaseAdvanced,
        CoinbaseExchange,
        GeminiV2,
        Generic,
        KrakenV2,
        OkxV5,
    )
}


def venue_of(form: FrameFormat) -> Venue:
    """Return the venue that reads these frames."""
    return VENUES[form.venue](form)
