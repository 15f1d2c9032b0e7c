"""Generated frames in each venue's format, for the tests of the decoders and the fuzzer."""

# ruff: noqa: E501 (a frame is one line)

from __future__ import annotations

from typing import Any

from hybrid_platform.settings.websocket import FrameFormat

GENERIC = {
    "subscribe": ['{"op":"sub","names":{symbols}}'],
    "trades": "data",
    "when": {"kind": "trades"},
    "history": {"past": "true"},
    "price": "p",
    "size": "q",
    "ts": "t",
    "ts_unit": "us",
    "symbol": "$.name",
    "trade_id": "n",
    "side": "maker_bought",
    "buy": "false",
    "sell": "true",
    "contiguous_ids": True,
}

FORMS: dict[str, dict[str, Any]] = {
    "binance": {"venue": "binance"},
    "bitstamp": {"venue": "bitstamp"},
    "bybit_v5": {"venue": "bybit_v5", "market": "linear"},
    "ccxt": {"venue": "ccxt", "exchange": "bitmex"},
    "coinbase_advanced": {"venue": "coinbase_advanced"},
    "coinbase_exchange": {"venue": "coinbase_exchange"},
    "gemini_v2": {"venue": "gemini_v2"},
    "generic": {"venue": "generic", "label": "ACME", "generic": GENERIC},
    "kraken_v2": {"venue": "kraken_v2"},
    "okx_v5": {"venue": "okx_v5"},
}

TRADES: dict[str, str] = {
    "binance": '{"stream":"ethusdt@trade","data":{"e":"trade","E":1700000000124,"s":"ETHUSDT","t":901,"p":"2000.10000000","q":"0.50000000","T":1700000000123,"m":true,"M":true}}',
    "bitstamp": '{"data":{"id":501,"timestamp":"1700000000","amount":0.5,"amount_str":"0.50000000","price":2000.1,"price_str":"2000.1","type":1,"microtimestamp":"1700000000123000","buy_order_id":1,"sell_order_id":2},"channel":"live_trades_ethusd","event":"trade"}',
    "bybit_v5": '{"topic":"publicTrade.ETHUSDT","type":"snapshot","ts":1700000000124,"data":[{"T":1700000000123,"s":"ETHUSDT","S":"Sell","v":"0.5","p":"2000.10","L":"MinusTick","i":"0b5c1d5e-1111-5222-8333-444455556666","BT":false}]}',
    "ccxt": '[{"symbol":"ETH/USD","id":"a1","price":"2000.1","amount":"0.5","timestamp":1700000000123,"side":"sell"}]',
    "coinbase_advanced": '{"channel":"market_trades","timestamp":"2023-11-14T22:13:20.2Z","sequence_num":4,"events":[{"type":"update","trades":[{"product_id":"ETH-USD","trade_id":"701","price":"2000.1","size":"0.5","time":"2023-11-14T22:13:20.123Z","side":"BUY"}]}]}',
    "coinbase_exchange": '{"type":"match","trade_id":701,"maker_order_id":"m","taker_order_id":"t","side":"buy","size":"0.5","price":"2000.1","product_id":"ETH-USD","sequence":9,"time":"2023-11-14T22:13:20.123000Z"}',
    "gemini_v2": '{"type":"trade","symbol":"ETHUSD","event_id":3601,"timestamp":1700000000123,"price":"2000.1","quantity":"0.5","side":"sell"}',
    "generic": '{"kind":"trades","name":"eth_usd","past":false,"data":[{"n":11,"p":2000.10,"q":5E-1,"t":1700000000123000,"maker_bought":true}]}',
    "kraken_v2": '{"channel":"trade","type":"update","data":[{"symbol":"ETH/USD","side":"sell","price":2000.10,"qty":0.50000000,"ord_type":"market","trade_id":301,"timestamp":"2023-11-14T22:13:20.123000Z"}]}',
    "okx_v5": '{"arg":{"channel":"trades","instId":"ETH-USDT"},"data":[{"instId":"ETH-USDT","tradeId":"801","px":"2000.1","sz":"0.5","side":"sell","ts":"1700000000123","count":"3"}]}',
}
"""The same trade everywhere: a seller hit a bid at 2000.1 for 0.5, at 1,700,000,000.123 s."""

SYMBOLS = {
    "binance": "ETHUSDT",
    "bitstamp": "ethusd",
    "bybit_v5": "ETHUSDT",
    "ccxt": "ETH/USD",
    "coinbase_advanced": "ETH-USD",
    "coinbase_exchange": "ETH-USD",
    "gemini_v2": "ETHUSD",
    "generic": "eth_usd",
    "kraken_v2": "ETH/USD",
    "okx_v5": "ETH-USDT",
}

OTHERS: dict[str, list[tuple[str, str]]] = {
    "binance": [
        ('{"result":null,"id":1}', "ack"),
        (
            '{"stream":"ethusdt@depth","data":{"e":"depthUpdate","E":1,"s":"ETHUSDT","U":1,"u":2,"b":[["1","2"]],"a":[]}}',
            "depthUpdate",
        ),
        ('{"e":"serverShutdown","E":1}', "serverShutdown"),
        ('{"stream":"!ticker@arr","data":[{"e":"24hrTicker"}]}', "list"),
    ],
    "bitstamp": [
        (
            '{"event":"bts:subscription_succeeded","channel":"live_trades_ethusd","data":{}}',
            "bts:subscription_succeeded",
        ),
        ('{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}', "bts:heartbeat"),
        ('{"data":{"bids":[],"asks":[]},"channel":"diff_order_book_ethusd","event":"data"}', "diff_order_book"),
    ],
    "bybit_v5": [
        ('{"success":true,"ret_msg":"","conn_id":"c","req_id":"","op":"subscribe"}', "subscribe"),
        ('{"success":true,"ret_msg":"pong","conn_id":"c","op":"ping"}', "ping"),
        ('{"topic":"tickers.ETHUSDT","type":"delta","data":{"symbol":"ETHUSDT"},"cs":1,"ts":1}', "tickers"),
    ],
    "ccxt": [],
    "coinbase_advanced": [
        ('{"channel":"heartbeats","sequence_num":5,"events":[{"heartbeat_counter":41}]}', "heartbeats"),
        (
            '{"channel":"subscriptions","sequence_num":2,"events":[{"subscriptions":{"market_trades":["ETH-USD"]}}]}',
            "subscriptions",
        ),
        ('{"channel":"l2_data","sequence_num":3,"events":[{"type":"update","updates":[]}]}', "l2_data"),
    ],
    "coinbase_exchange": [
        ('{"type":"subscriptions","channels":[{"name":"matches","product_ids":["ETH-USD"]}]}', "subscriptions"),
        (
            '{"type":"heartbeat","sequence":1,"last_trade_id":0,"product_id":"ETH-USD","time":"2023-11-14T22:13:20Z"}',
            "heartbeat",
        ),
        ('{"type":"ticker","sequence":1,"product_id":"ETH-USD","price":"1","side":"buy","trade_id":1}', "ticker"),
    ],
    "gemini_v2": [
        ('{"type":"heartbeat","timestamp":1700000000123}', "heartbeat"),
        ('{"type":"l2_updates","symbol":"ETHUSD","changes":[["buy","1","2"]]}', "l2_updates"),
    ],
    "generic": [('{"kind":"hello"}', "other"), ("[1,2]", "other"), ('{"kind":"trades"}', "no_trades")],
    "kraken_v2": [
        ('{"channel":"heartbeat"}', "heartbeat"),
        ('{"method":"subscribe","result":{"channel":"trade","symbol":"ETH/USD"},"success":true}', "subscribe"),
        ('{"method":"pong","time_in":"a","time_out":"b"}', "pong"),
        ('{"channel":"status","type":"update","data":[{"system":"online"}]}', "status"),
    ],
    "okx_v5": [
        ("pong", "pong"),
        ('{"event":"subscribe","arg":{"channel":"trades","instId":"ETH-USDT"},"connId":"c"}', "subscribe"),
        ('{"arg":{"channel":"books","instId":"ETH-USDT"},"action":"update","data":[{"asks":[]}]}', "books"),
    ],
}
"""Frames that knowingly give no tick, and the kind they are counted under."""

HISTORY: dict[str, tuple[str, int]] = {
    "coinbase_advanced": (TRADES["coinbase_advanced"].replace('"update"', '"snapshot"'), 1),
    "coinbase_exchange": (TRADES["coinbase_exchange"].replace('"match"', '"last_match"'), 1),
    "gemini_v2": (
        '{"type":"l2_updates","symbol":"ETHUSD","changes":[["buy","1","2"]],"trades":[%s,%s]}'
        % ((TRADES["gemini_v2"],) * 2),
        2,
    ),
    "generic": (TRADES["generic"].replace('"past":false', '"past":true'), 1),
    "kraken_v2": (TRADES["kraken_v2"].replace('"update"', '"snapshot"'), 1),
}

REFUSALS: dict[str, tuple[str, str]] = {
    "binance": ('{"error":{"code":2,"msg":"Invalid request"},"id":1}', "Invalid request"),
    "bitstamp": ('{"event":"bts:request_reconnect","channel":"","data":""}', "bts:request_reconnect"),
    "bybit_v5": ('{"success":false,"ret_msg":"error:handler not found,topic:x","op":"subscribe"}', "handler not found"),
    "coinbase_advanced": ('{"type":"error","message":"too many requests"}', "too many requests"),
    "coinbase_exchange": (
        '{"type":"error","message":"Failed to subscribe","reason":"X-Y is not a valid product"}',
        "not a valid product",
    ),
    "gemini_v2": ('{"result":"error","message":"Supplied symbol invalid"}', "Supplied symbol invalid"),
    "kraken_v2": ('{"error":"Currency pair not supported X/Y","method":"subscribe","success":false}', "not supported"),
    "okx_v5": ('{"event":"error","code":"60018","msg":"Wrong URL or channel","connId":"c"}', "Wrong URL or channel"),
}


def frame_format(name: str, **changes: Any) -> FrameFormat:
    """Return how the venue's frames are read."""
    return FrameFormat.model_validate(FORMS[name] | changes)
