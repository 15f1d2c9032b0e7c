"""Conversion of cells into ticks in two ways: row by row (the definition), and whole columns at once (the fast path).

in: the cells of one file in its layout's order · out: a tick row or `RowError`; or a `TickBatch`, or None if anything
in a block is unusual, so that the definition decides on each of its rows. The fast path itself only rejects crossed
quotes, because some feeds contain many of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_platform.domain.decimals import DEFAULT_SCALE, INT64_MAX, MONEY
from hybrid_platform.domain.instruments import InstrumentTable, clean_symbol
from hybrid_platform.domain.ticks import Int64s, TickBatch, TickRow, batch_from_rows
from hybrid_platform.feeds.files.arrow import to_int64, to_units64
from hybrid_platform.feeds.files.cells import (
    PADDING,
    RowError,
    convert_to_units,
    parse_number,
    parse_side,
    parse_trade_id,
)
from hybrid_platform.feeds.files.layouts import Layout
from hybrid_platform.feeds.files.times import SinceMidnight, TimeFormat, select_time_format

MAX_SYMBOLS = 65_536
"""Largest number of symbols in one feed; rows of further ones are rejected, so that memory stays bounded."""
_TEXT = pa.dictionary(pa.int32(), pa.string())
_HALF = Decimal("0.5")
_NO_POSITIONS: Int64s = np.zeros(0, np.int64)


class SymbolInterner:
    """Index of the symbols of one venue, shared by all files of a feed."""

    def __init__(self, table: InstrumentTable, venue: str) -> None:
        self.table = table
        self._venue = venue

    def intern_all(self, texts: Iterable[object]) -> list[int]:
        """Return each symbol's instrument; if one is invalid, raise RowError without interning any."""
        symbols = [self._clean(text) for text in texts]
        return [self._intern(symbol) for symbol in symbols]

    def _clean(self, text: object) -> str:
        try:
            return clean_symbol(text.strip(PADDING) if isinstance(text, str) else text)
        except ValueError:
            raise RowError("bad_symbol") from None

    def _intern(self, symbol: str) -> int:
        index = self.table.find(self._venue, symbol)
        if index is None:
            if len(self.table) >= MAX_SYMBOLS:
                raise RowError("too_many_symbols")
            index = self.table.intern(self._venue, symbol)
        return index


class TickParser:
    """Conversion of one file's rows into ticks. ``day`` is that of times since midnight."""

    def __init__(self, layout: Layout, day: date | None, symbol: str | None, symbols: SymbolInterner) -> None:
        self.fields = tuple(layout.fields)
        """Fields of a row's cells, in their order."""
        self._time: TimeFormat = (
            SinceMidnight(day, layout.zone) if layout.zone and day else select_time_format(layout.ts_unit)
        )
        self._recv: TimeFormat = select_time_format(layout.recv_unit or layout.ts_unit)
        self._shift = layout.price_shift
        self._symbol = symbol
        self._symbols = symbols
        price = pa.decimal128(38, DEFAULT_SCALE - self._shift)
        types = {
            "ts": self._time.arrow_type,
            "ts_recv": self._recv.arrow_type,
            "price": price,
            "ask": price,
            "size": pa.decimal128(38, DEFAULT_SCALE),
            "symbol": _TEXT,
            "side": _TEXT,
            "trade_id": pa.string(),
        }
        self.arrow_types = tuple(types[name] for name in self.fields)
        """Types that a CSV reader should parse the cells into for the fast path."""

    def parse_row(self, cells: Sequence[object]) -> TickRow:
        """Return one row's tick; raise RowError."""
        row = dict(zip(self.fields, cells, strict=True))
        ts_event = self._time.parse_cell(row["ts"])
        ts_recv = ts_event
        if "ts_recv" in row:
            try:
                ts_recv = self._recv.parse_cell(row["ts_recv"])
            except RowError as error:
                raise RowError(error.cause.replace("time", "recv_time")) from None
        price = self._parse_price(row["price"])
        if "ask" in row:
            ask = self._parse_price(row["ask"])
            if ask < price:
                raise RowError("crossed")
            price = MONEY.multiply(MONEY.add(price, ask), _HALF)
        size = parse_number(row["size"], "bad_size") if "size" in row else Decimal(0)
        if size < 0:
            raise RowError("bad_size")
        side = parse_side(row.get("side"))
        trade_ref = parse_trade_id(row.get("trade_id"))
        [index] = self._symbols.intern_all([row.get("symbol", self._symbol)])
        instrument = self._symbols.table[index]
        price_units = convert_to_units(price, instrument.price_scale, "price")
        size_units = convert_to_units(size, instrument.size_scale, "size")
        return index, price_units, size_units, side, trade_ref, ts_event, ts_recv

    def _parse_price(self, text: object) -> Decimal:
        price = parse_number(text, "bad_price").scaleb(-self._shift, MONEY)
        if price <= 0:
            raise RowError("bad_price")
        return price

    def build_batch(self, rows: Sequence[TickRow]) -> TickBatch:
        """Return rows as a batch."""
        return batch_from_rows(self._symbols.table, rows)

    def parse_columns(self, columns: Iterable[Any]) -> tuple[TickBatch, Int64s] | None:
        """Return the ticks of whole Arrow columns and the positions of crossed quotes, or None to parse row by row.

        The columns hold text or the types of `arrow_types`.
        """
        column = dict(zip(self.fields, columns, strict=True))
        ts_event = self._time.parse_column(column["ts"])
        ts_recv = self._recv.parse_column(column["ts_recv"]) if "ts_recv" in column else ts_event
        price, crossed = self._parse_prices(column)
        size = to_units64(column["size"], DEFAULT_SCALE) if "size" in column else np.zeros(len(column["ts"]), np.int64)
        if ts_event is None or ts_recv is None or price is None or size is None:
            return None
        try:
            side = _parse_sides(column["side"]) if "side" in column else np.zeros(len(size), np.int8)
            trade_ref = _parse_trade_refs(column["trade_id"]) if "trade_id" in column else None
            instrument, indices = self._find_instruments(column.get("symbol"), len(size))
        except RowError:
            return None
        table = self._symbols.table
        if any((table[at].price_scale, table[at].size_scale) != (DEFAULT_SCALE, DEFAULT_SCALE) for at in indices):
            price = _rescale(price, np.array([item.price_scale for item in table])[instrument])
            size = _rescale(size, np.array([item.size_scale for item in table])[instrument])
            if price is None or size is None:
                return None
        seq = np.zeros(len(size), np.int64)
        ticks = TickBatch(table, seq, instrument, price, size, side, trade_ref, ts_event, ts_recv)
        return (ticks[~crossed], np.flatnonzero(crossed)) if crossed.any() else (ticks, _NO_POSITIONS)

    def _parse_prices(self, column: dict[str, Any]) -> tuple[Int64s | None, npt.NDArray[np.bool_]]:
        """Return prices and a mask of crossed quotes."""
        price = to_units64(column["price"], DEFAULT_SCALE - self._shift)
        crossed = np.zeros(len(column["price"]), np.bool_)
        if price is None or not price.all():
            return None, crossed
        if "ask" not in column:
            return price, crossed
        ask = to_units64(column["ask"], DEFAULT_SCALE - self._shift)
        if ask is None or not ask.all():
            return None, crossed
        crossed = ask < price
        # The midpoint, exact and without overflow: half of each price plus the remaining halves.
        odd = (price & 1) + (ask & 1)
        fits = ((odd != 1) | crossed).all()
        return (price >> 1) + (ask >> 1) + (odd >> 1) if fits else None, crossed

    def _find_instruments(self, column: Any | None, rows: int) -> tuple[Int64s, list[int]]:
        """Return each row's instrument and the list of distinct ones."""
        codes, texts = (np.zeros(rows, np.int64), [self._symbol]) if column is None else _encode(column)
        indices = self._symbols.intern_all(texts)
        return np.array(indices, np.int64)[codes], indices


def _encode(column: Any) -> tuple[Int64s, list[str | None]]:
    """Return a text column as codes and its distinct texts in order of appearance."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode(null_encoding="encode")
    return to_int64(column.indices), column.dictionary.to_pylist()


def _parse_sides(column: Any) -> npt.NDArray[np.int8]:
    codes, texts = _encode(column)
    side: npt.NDArray[np.int8] = np.array([parse_side(text) for text in texts], np.int8)[codes]
    return side


def _parse_trade_refs(column: Any) -> npt.NDArray[Any] | None:
    """Return int64 if every id is a canonical integer, else objects; None if all are missing."""
    try:
        ids = column.cast(pa.int64())
        if not column.null_count and pc.all(pc.equal(ids.cast(pa.string()), column)).as_py():
            return to_int64(ids)
    except pa.ArrowException:
        pass
    refs = [parse_trade_id(text) for text in column.to_pylist()]
    if all(ref is None for ref in refs):
        return None
    if all(isinstance(ref, int) for ref in refs):
        return np.array(refs, np.int64)
    return np.array([None if ref is None else str(ref) for ref in refs], dtype=object)


def _rescale(units: Int64s, scale: npt.NDArray[Any]) -> Int64s | None:
    """Return units of 10^-9 as units of 10^-scale, or None if any does not fit."""
    down = 10 ** np.maximum(DEFAULT_SCALE - scale, 0)
    up = 10 ** np.maximum(scale - DEFAULT_SCALE, 0)
    if (units % down).any() or (units // down > INT64_MAX // up).any():
        return None
    rescaled: Int64s = units // down * up
    return rescaled
