"""The layouts that are known by name: recorded files of this project's kind, and what venues and vendors publish.

Data, not code: docs/feeds.md shows this table, and a test holds the two together.
"""

from __future__ import annotations

import re

from hybrid_platform.feeds.files.layout import Layout
from hybrid_platform.settings.feeds import Columns

_CAPTURE = ("trade_time_ms", "event_time_ms", "recv_ns", "trade_id", "price", "qty", "buyer_is_maker", "exec_type")
_AGGREGATES = (
    "agg_trade_id",
    "price",
    "quantity",
    "first_trade_id",
    "last_trade_id",
    "transact_time",
    "is_buyer_maker",
)
_DATE = r"(?P<date>\d{8})"
_DUMP = r"(?P<symbol>[A-Z0-9_]+)-{kind}-\d{{4}}-\d{{2}}(-\d{{2}})?\.(csv|zip)"


def _path(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII | re.IGNORECASE)


_ALL = (
    Layout(
        "us_equity",
        "US equity trades with Unix milliseconds",
        Columns(ts="ts_ms", price="price", size="size", symbol="symbol"),
        headers=(("symbol", "ts_ms", "price", "size", "exchange", "conditions", "suspicious"),),
    ),
    Layout(
        "binance_capture",
        "trades extracted from Binance websocket frames, with the local receive time",
        Columns(
            ts="trade_time_ms",
            price="price",
            size="qty",
            trade_id="trade_id",
            side="buyer_is_maker",
            ts_recv="recv_ns",
        ),
        recv_unit="ns",
        headers=(_CAPTURE,),
        named=_path(r"binance_(spot|usdm|coinm)_(?P<symbol>[a-z0-9]+)_\d{8}\.csv"),
    ),
    Layout(
        "tardis_trades",
        "Tardis.dev trades, microseconds, with the local receive time",
        Columns(
            ts="timestamp",
            price="price",
            size="amount",
            symbol="symbol",
            trade_id="id",
            side="side",
            ts_recv="local_timestamp",
        ),
        ts_unit="us",
        headers=(("exchange", "symbol", "timestamp", "local_timestamp", "id", "side", "price", "amount"),),
    ),
    Layout(
        "binance_trades",
        "Binance public dump of trades: spot, USD-M or COIN-M; milliseconds or microseconds",
        Columns(ts=4, price=1, size=2, trade_id=0, side=5),
        ts_unit="ms_or_us",
        headers=(
            ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker"),
            ("id", "price", "qty", "base_qty", "time", "is_buyer_maker"),
        ),
        widths=(6, 7),
        named=_path(_DUMP.format(kind="trades")),
    ),
    Layout(
        "binance_agg_trades",
        "Binance public dump of aggregate trades: spot, USD-M or COIN-M; milliseconds or microseconds",
        Columns(ts=5, price=1, size=2, trade_id=0, side=6),
        ts_unit="ms_or_us",
        headers=(_AGGREGATES,),
        widths=(7, 8),
        named=_path(_DUMP.format(kind="aggTrades")),
    ),
    Layout(
        "lean_equity_usa",
        "Lean US equity trade ticks: milliseconds since midnight New York, prices times 10,000",
        Columns(ts=0, price=1, size=2),
        price_shift=4,
        zone="America/New_York",
        widths=(6,),
        named=_path(_DATE + r"_(?P<symbol>[a-z0-9.]+)_(trade_tick|tick_trade)\.csv"),
        hint=_path(r"equity[/_]usa"),
    ),
    Layout(
        "lean_future",
        "Lean futures trade ticks, one member per contract month: milliseconds since midnight UTC",
        Columns(ts=0, price=1, size=2),
        zone="UTC",
        widths=(6,),
        named=_path(_DATE + r"_(?P<symbol>[a-z0-9]+)_(trade_tick|tick_trade)_(?P<month>\d{6})(_\d+)?\.csv"),
    ),
    Layout(
        "lean_forex_fxcm_quotes",
        "Lean FXCM forex quote ticks: milliseconds since midnight UTC-5",
        Columns(ts=0, price=1),
        ask=2,
        zone="Etc/GMT+5",
        widths=(3,),
        named=_path(_DATE + r"_(?P<symbol>[a-z0-9]+)_(quote_tick|tick_quote)\.csv"),
        hint=_path("fxcm"),
    ),
    Layout(
        "lean_oanda_quotes",
        "Lean Oanda forex and CFD quote ticks: milliseconds since midnight UTC",
        Columns(ts=0, price=1),
        ask=2,
        zone="UTC",
        widths=(3,),
        named=_path(_DATE + r"_(?P<symbol>[a-z0-9]+)_(quote_tick|tick_quote)\.csv"),
        hint=_path("oanda"),
    ),
    Layout(
        "tick_jsonl",
        "one JSON object a line, with Unix milliseconds",
        Columns(ts="ts", price="price", size="volume", symbol="symbol"),
        headers=(("symbol", "price", "volume", "ts"),),
    ),
)

PRESETS = {layout.name: layout for layout in _ALL}
