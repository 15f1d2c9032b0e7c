"""Ticks: one market trade each, and the columns in which they travel through the pipeline.

The pipeline passes `TickBatch` objects: parallel numpy columns, sliced without copying. A strategy that works on one
trade at a time receives `Tick` objects. Prices and sizes are integers of 10^-scale of their instrument; times are
integer nanoseconds since the Unix epoch, UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import repeat
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from hybrid_platform.domain.decimals import INT64_MAX, from_units
from hybrid_platform.domain.instruments import Instrument, InstrumentTable

Int64s = npt.NDArray[np.int64]
Int8s = npt.NDArray[np.int8]

AGGRESSOR_BUY, AGGRESSOR_SELL, AGGRESSOR_UNKNOWN = 1, -1, 0

TickRow = tuple[int, int, int, int, int | str | None, int, int]
"""``(instrument index, price, size, side, trade_ref, ts_event, ts_recv)`` of a tick without a sequence number."""
_INTEGER_ID = re.compile(r"0|-?[1-9][0-9]{0,18}")
_TRADE_ID = re.compile(r"[!-~]{1,64}")


def parse_trade_ref(text: str) -> int | str:
    """Return a venue's trade id: an int if it is the canonical form of a 64-bit integer, else the text.

    Raises ValueError unless it has 1 to 64 printable ASCII characters and no blank.
    """
    if _INTEGER_ID.fullmatch(text) and -INT64_MAX - 1 <= int(text) <= INT64_MAX:
        return int(text)
    if not _TRADE_ID.fullmatch(text):
        raise ValueError(f"expected a trade id of 1 to 64 printable characters, got {text[:70]!r}")
    return text


class Tick(msgspec.Struct, frozen=True, gc=False):
    """One market trade of an instrument."""

    seq: int
    """1, 2, 3 … over all accepted ticks of the session; a tick that is dropped later leaves a hole."""
    instrument: Instrument
    price_units: int
    size_units: int
    side: int
    """The aggressor: 1 buyer, -1 seller, 0 unknown."""
    trade_ref: int | str | None
    ts_event: int
    """Time of the trade according to the venue."""
    ts_recv: int
    """Time of receipt; the session clock uses it."""

    @property
    def symbol(self) -> str:
        """The instrument's symbol."""
        return self.instrument.symbol

    @property
    def venue(self) -> str:
        """The instrument's venue."""
        return self.instrument.venue

    @property
    def price(self) -> Decimal:
        """The price, exact."""
        return from_units(self.price_units, self.instrument.price_scale)

    @property
    def size(self) -> Decimal:
        """The traded size, exact; zero is possible."""
        return from_units(self.size_units, self.instrument.size_scale)

    @property
    def trade_id(self) -> str | None:
        """The venue's trade id, or None if it sends none."""
        return None if self.trade_ref is None else str(self.trade_ref)


class TickBatch:
    """Ticks as parallel columns of equal length ``n``; immutable by convention, slices are views.

    ``seq`` is 0 until ingest numbers them. ``trade_ref`` is None if the source has no ids, else
    int64 where every id is a canonical 64-bit integer, else an object array of ``str | None``.
    """

    __slots__ = ("instrument", "price", "seq", "side", "size", "table", "trade_ref", "ts_event", "ts_recv")

    def __init__(
        self,
        table: InstrumentTable,
        seq: Int64s,
        instrument: Int64s,
        price: Int64s,
        size: Int64s,
        side: Int8s,
        trade_ref: npt.NDArray[Any] | None,
        ts_event: Int64s,
        ts_recv: Int64s,
    ) -> None:
        self.table = table
        self.seq = seq
        self.instrument = instrument
        """Index into ``table``."""
        self.price = price
        self.size = size
        self.side = side
        self.trade_ref = trade_ref
        self.ts_event = ts_event
        self.ts_recv = ts_recv

    def __len__(self) -> int:
        return len(self.seq)

    def __getitem__(self, where: slice | npt.NDArray[Any]) -> TickBatch:
        """Return the ticks selected by a slice (a view), a boolean mask or an index array."""
        return TickBatch(
            self.table,
            self.seq[where],
            self.instrument[where],
            self.price[where],
            self.size[where],
            self.side[where],
            None if self.trade_ref is None else self.trade_ref[where],
            self.ts_event[where],
            self.ts_recv[where],
        )

    def with_seq_from(self, first: int) -> TickBatch:
        """Return the same ticks with ``seq`` = first, first + 1, …"""
        return TickBatch(
            self.table,
            np.arange(first, first + len(self), dtype=np.int64),
            self.instrument,
            self.price,
            self.size,
            self.side,
            self.trade_ref,
            self.ts_event,
            self.ts_recv,
        )

    def with_ts_recv(self, ts_recv: int) -> TickBatch:
        """Return the same ticks with every ``ts_recv`` set to one instant."""
        return TickBatch(
            self.table,
            self.seq,
            self.instrument,
            self.price,
            self.size,
            self.side,
            self.trade_ref,
            self.ts_event,
            np.full(len(self), ts_recv, dtype=np.int64),
        )

    def rows(self) -> Iterator[tuple[int, int, int, int, int, int | str | None, int, int]]:
        """Yield ``(seq, instrument index, price, size, side, trade_ref, ts_event, ts_recv)``."""
        return zip(
            self.seq.tolist(),
            self.instrument.tolist(),
            self.price.tolist(),
            self.size.tolist(),
            self.side.tolist(),
            repeat(None) if self.trade_ref is None else self.trade_ref.tolist(),
            self.ts_event.tolist(),
            self.ts_recv.tolist(),
            strict=False,
        )

    def ticks(self, numbers: Iterator[int] | None = None) -> Iterator[Tick]:
        """Yield each tick as an object, in order; ``numbers`` replaces ``seq`` to follow progress."""
        return map(
            Tick,
            self.seq.tolist() if numbers is None else numbers,
            self.instrument_objects(),
            self.price.tolist(),
            self.size.tolist(),
            self.side.tolist(),
            repeat(None) if self.trade_ref is None else self.trade_ref.tolist(),
            self.ts_event.tolist(),
            self.ts_recv.tolist(),
        )

    def instrument_objects(self) -> Iterable[Instrument]:
        """Return each tick's instrument, in order."""
        if len(self.table) == 1:
            return repeat(self.table[0], len(self))
        return map(self.table.__getitem__, self.instrument.tolist())

    def tick(self, position: int) -> Tick:
        """Return the tick at a position (not seq) as an object."""
        refs = self.trade_ref
        return Tick(
            self.seq.item(position),
            self.table[self.instrument.item(position)],
            self.price.item(position),
            self.size.item(position),
            self.side.item(position),
            None if refs is None else refs.item(position),
            self.ts_event.item(position),
            self.ts_recv.item(position),
        )


def concat_batches(batches: Sequence[TickBatch]) -> TickBatch:
    """Return batches of one session as a single one; integer and text ids keep their types."""
    if len(batches) == 1:
        return batches[0]
    first = batches[0]

    def column(name: str) -> Any:
        return np.concatenate([getattr(batch, name) for batch in batches])

    return TickBatch(
        first.table, column("seq"), column("instrument"), column("price"), column("size"), column("side"),
        _concat_refs(batches), column("ts_event"), column("ts_recv"),
    )  # fmt: skip


def _concat_refs(batches: Sequence[TickBatch]) -> npt.NDArray[Any] | None:
    if all(batch.trade_ref is None for batch in batches):
        return None
    # A batch without ids gets None. Integers and texts together become objects, never floats.
    return np.concatenate(
        [np.full(len(batch), None) if batch.trade_ref is None else batch.trade_ref for batch in batches]
    )


def batch_from_rows(
    table: InstrumentTable,
    rows: Sequence[TickRow],
) -> TickBatch:
    """Build a batch without sequence numbers from rows."""
    n = len(rows)
    columns = list(zip(*rows, strict=True)) if rows else [()] * 7
    refs = columns[4]
    trade_ref: npt.NDArray[Any] | None
    if all(ref is None for ref in refs):
        trade_ref = None
    elif all(isinstance(ref, int) for ref in refs):
        trade_ref = np.array(refs, dtype=np.int64)
    else:
        trade_ref = np.array([None if ref is None else str(ref) for ref in refs], dtype=object)
    return TickBatch(
        table,
        np.zeros(n, dtype=np.int64),
        np.array(columns[0], dtype=np.int64),
        np.array(columns[1], dtype=np.int64),
        np.array(columns[2], dtype=np.int64),
        np.array(columns[3], dtype=np.int8),
        trade_ref,
        np.array(columns[5], dtype=np.int64),
        np.array(columns[6], dtype=np.int64),
    )
