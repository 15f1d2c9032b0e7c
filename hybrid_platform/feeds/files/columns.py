"""From cells to ticks, twice: row by row (the definition), and whole columns at once (the fast path).

in: the cells of one file in its layout's order · out: tick rows or `RowError`; or a `TickBatch`, or
None where anything in a block is odd, so that the definition decides about every row of it. Only
crossed quotes, of which some feeds are full, are told apart by columns too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_platform.domain.decimals import DEFAULT_SCALE, INT64_MAX, MONEY
from hybrid_platform.domain.instruments import InstrumentTable, clean_symbol
from hybrid_platform.domain.ticks import Int64s, TickBatch, batch_from_rows
from hybrid_platform.feeds.files import cells as cell
from hybrid_platform.feeds.files.arrow import integers, low_words
from hybrid_platform.feeds.files.cells import PADDING, RowError
from hybrid_platform.feeds.files.layout import Layout, Origin
from hybrid_platform.feeds.files.times import Notation, SinceMidnight, notation_of

TickRow = tuple[int, int, int, int, int | str | None, int, int]
"""``(instrument, price, size, side, trade_ref, ts_event, ts_recv)``, as `batch_from_rows` takes it."""
MAX_SYMBOLS = 65_536
"""Beyond so many different symbols in one feed, rows of further ones are rejected: memory stays bounded."""
_TEXT = pa.dictionary(pa.int32(), pa.string())
_HALF = Decimal("0.5")
_NONE: Int64s = np.zeros(0, np.int64)


class Symbols:
    """A feed's symbols, interned at one venue; shared by all its files."""

    def __init__(self, table: InstrumentTable, venue: str) -> None:
        self.table = table
        self._venue = venue

    def indices(self, texts: Iterable[object]) -> list[int]:
        """Return each text's instrument; raise RowError where one is no sane symbol, with nothing interned."""
        symbols = [self._clean(text) for text in texts]
        return [self._interned(symbol) for symbol in symbols]

    def _clean(self, text: object) -> str:
        try:
            return clean_symbol(text.strip(PADDING) if isinstance(text, str) else text)
        except ValueError:
            raise RowError("bad_symbol") from None

    def _interned(self, symbol: str) -> int:
        index = self.table.find(self._venue, symbol)
        if index is None:
            if len(self.table) >= MAX_SYMBOLS:
                raise RowError("too_many_symbols")
            index = self.table.intern(self._venue, symbol)
        return index


class Rules:
    """How the rows of one file become ticks."""

    def __init__(self, layout: Layout, origin: Origin, symbol: str | None, symbols: Symbols) -> None:
        self.fields = tuple(layout.fields)
        """What the cells of a row stand for, in their order."""
        self._time: Notation = (
            SinceMidnight(origin.day, layout.zone) if layout.zone and origin.day else notation_of(layout.ts_unit)
        )
        self._recv: Notation = notation_of(layout.recv_unit or layout.ts_unit)
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
        """What a CSV reader should parse the cells into, for the fast path."""

    def row(self, cells: Sequence[object]) -> TickRow:
        """Return one row's tick; raise RowError."""
        row = dict(zip(self.fields, cells, strict=True))
        ts_event = self._time.of_cell(row["ts"])
        ts_recv = ts_event
        if "ts_recv" in row:
            try:
                ts_recv = self._recv.of_cell(row["ts_recv"])
            except RowError as error:
                raise RowError(error.cause.replace("time", "recv_time")) from None
        price = self._price(row["price"])
        if "ask" in row:
            ask = self._price(row["ask"])
            if ask < price:
                raise RowError("crossed")
            price = MONEY.multiply(MONEY.add(price, ask), _HALF)
        size = cell.number(row["size"], "bad_size") if "size" in row else Decimal(0)
        if size < 0:
            raise RowError("bad_size")
        side = cell.side(row.get("side"))
        trade_ref = cell.trade_ref(row.get("trade_id"))
        [index] = self._symbols.indices([row.get("symbol", self._symbol)])
        instrument = self._symbols.table[index]
        price_units = cell.units(price, instrument.price_scale, "price")
        return index, price_units, cell.units(size, instrument.size_scale, "size"), side, trade_ref, ts_event, ts_recv

    def _price(self, text: object) -> Decimal:
        price = cell.number(text, "bad_price").scaleb(-self._shift, MONEY)
        if price <= 0:
            raise RowError("bad_price")
        return price

    def batch(self, rows: Sequence[TickRow]) -> TickBatch:
        """Return rows as a batch."""
        return batch_from_rows(self._symbols.table, rows)

    def ticks(self, columns: Iterable[Any]) -> tuple[TickBatch, Int64s] | None:
        """Return the ticks of whole Arrow columns, and the positions of crossed quotes; None: look at each row.

        The columns hold text, or what `arrow_types` says.
        """
        column = dict(zip(self.fields, columns, strict=True))
        ts_event = self._time.of_column(column["ts"])
        ts_recv = self._recv.of_column(column["ts_recv"]) if "ts_recv" in column else ts_event
        price, crossed = self._prices(column)
        size = low_words(column["size"], DEFAULT_SCALE) if "size" in column else np.zeros(len(column["ts"]), np.int64)
        if ts_event is None or ts_recv is None or price is None or size is None:
            return None
        try:
            side = _sides(column["side"]) if "side" in column else np.zeros(len(size), np.int8)
            trade_ref = _trade_refs(column["trade_id"]) if "trade_id" in column else None
            instrument, indices = self._instruments(column.get("symbol"), len(size))
        except RowError:
            return None
        table = self._symbols.table
        if any((table[at].price_scale, table[at].size_scale) != (DEFAULT_SCALE, DEFAULT_SCALE) for at in indices):
            price = _rescaled(price, np.array([item.price_scale for item in table])[instrument])
            size = _rescaled(size, np.array([item.size_scale for item in table])[instrument])
            if price is None or size is None:
                return None
        seq = np.zeros(len(size), np.int64)
        ticks = TickBatch(table, seq, instrument, price, size, side, trade_ref, ts_event, ts_recv)
        return (ticks[~crossed], np.flatnonzero(crossed)) if crossed.any() else (ticks, _NONE)

    def _prices(self, column: dict[str, Any]) -> tuple[Int64s | None, npt.NDArray[np.bool_]]:
        """Return prices, and which quotes are crossed."""
        price = low_words(column["price"], DEFAULT_SCALE - self._shift)
        crossed = np.zeros(len(column["price"]), np.bool_)
        if price is None or not price.all():
            return None, crossed
        if "ask" not in column:
            return price, crossed
        ask = low_words(column["ask"], DEFAULT_SCALE - self._shift)
        if ask is None or not ask.all():
            return None, crossed
        crossed = ask < price
        # Exact and without overflow: half of each, and the halves that are left over.
        odd = (price & 1) + (ask & 1)
        fits = ((odd != 1) | crossed).all()
        return (price >> 1) + (ask >> 1) + (odd >> 1) if fits else None, crossed

    def _instruments(self, column: Any | None, rows: int) -> tuple[Int64s, list[int]]:
        """Return each row's instrument, and all of them."""
        codes, texts = (np.zeros(rows, np.int64), [self._symbol]) if column is None else _encoded(column)
        indices = self._symbols.indices(texts)
        return np.array(indices, np.int64)[codes], indices


def _encoded(column: Any) -> tuple[Int64s, list[str | None]]:
    """Return a text column as codes into its distinct texts, in order of appearance."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode(null_encoding="encode")
    return integers(column.indices), column.dictionary.to_pylist()


def _sides(column: Any) -> npt.NDArray[np.int8]:
    codes, texts = _encoded(column)
    side: npt.NDArray[np.int8] = np.array([cell.side(text) for text in texts], np.int8)[codes]
    return side


def _trade_refs(column: Any) -> npt.NDArray[Any] | None:
    """Return int64 where every id is one and says the same, else objects (None where all are missing)."""
    try:
        ids = column.cast(pa.int64())
        if not column.null_count and pc.all(pc.equal(ids.cast(pa.string()), column)).as_py():
            return integers(ids)
    except pa.ArrowException:
        pass
    refs = [cell.trade_ref(text) for text in column.to_pylist()]
    if all(ref is None for ref in refs):
        return None
    if all(isinstance(ref, int) for ref in refs):
        return np.array(refs, np.int64)
    return np.array([None if ref is None else str(ref) for ref in refs], dtype=object)


def _rescaled(units: Int64s, scale: npt.NDArray[Any]) -> Int64s | None:
    """Return units of 10^-9 as units of 10^-scale, or None where any does not fit."""
    down = 10 ** np.maximum(DEFAULT_SCALE - scale, 0)
    up = 10 ** np.maximum(scale - DEFAULT_SCALE, 0)
    if (units % down).any() or (units // down > INT64_MAX // up).any():
        return None
    rescaled: Int64s = units // down * up
    return rescaled
