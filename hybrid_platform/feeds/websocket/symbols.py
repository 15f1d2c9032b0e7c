"""What currency a venue's symbol is priced in, as far as its spelling says.

Risk caps are in USD: a symbol whose quote nobody knows must be vetoed, not taken for dollars.
"""

from __future__ import annotations

import re

UNKNOWN_QUOTE = "UNKNOWN"
_SEPARATOR = re.compile(r"[-/_:]")
_QUOTES = (
    *("FDUSD", "USDT", "USDC", "USDP", "USDE", "USD1", "TUSD", "BUSD", "GUSD", "PYUSD", "RLUSD", "DAI"),
    *("USD", "EUR", "GBP", "JPY", "AUD", "CAD", "CHF", "SGD", "TRY", "BRL", "MXN", "ZAR", "PLN", "ARS", "COP", "IDR"),
    *("BTC", "XBT", "ETH", "BNB", "SOL", "XRP", "TRX", "DOGE"),
)
_BY_LENGTH = sorted(_QUOTES, key=len, reverse=True)


def base_and_quote(symbol: str) -> tuple[str, str]:
    """Split a cleaned symbol: ``BTC-USD``, ``BTC/USDT:USDT``, ``ETHBTC``, ``BTCUSD_PERP``, ``BTC-USDT-SWAP``."""
    first, *rest = _SEPARATOR.split(symbol)
    if rest and ("/" in symbol or rest[0] in _QUOTES):
        return first, rest[0]
    for quote in _BY_LENGTH:
        if first.endswith(quote) and first != quote:
            return first.removesuffix(quote), quote
    return first, UNKNOWN_QUOTE
