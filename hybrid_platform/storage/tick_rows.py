"""Ticks as stored in ``tick_rows``, by column: the form that the archive keeps and that readers convert to batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from hybrid_platform.domain.ticks import Int64s
from hybrid_platform.storage import schema
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.errors import Cause, DatabaseError

INTEGERS = ("seq", "instrument_no", "price", "size", "side", "ts_event", "ts_recv")
ROWS_AT_ONCE = 16_384


class TickRows(NamedTuple):
    """Ticks of one session, ordered by ``seq``; arrays of shape (n,), prices and sizes in the instrument's units."""

    seq: Int64s
    instrument_no: Int64s
    price: Int64s
    size: Int64s
    side: Int64s
    ts_event: Int64s
    ts_recv: Int64s
    refs: list[int | str | None]
    """The venue's trade ids, unchanged from the database."""

    @classmethod
    def from_columns(cls, columns: Iterable[Int64s], refs: Iterable[int | str | None]) -> TickRows:
        """Return rows from the columns of `INTEGERS`, in that order."""
        seq, instrument_no, price, size, side, ts_event, ts_recv = columns
        return cls(seq, instrument_no, price, size, side, ts_event, ts_recv, list(refs))

    @property
    def columns(self) -> tuple[Int64s, ...]:
        """All columns but the ids."""
        return self.seq, self.instrument_no, self.price, self.size, self.side, self.ts_event, self.ts_recv

    def take(self, positions: Int64s) -> TickRows:
        """Return the rows at these positions, in this order."""
        return TickRows.from_columns(
            (column[positions] for column in self.columns), [self.refs[at] for at in positions]
        )

    def where(self, wanted: npt.NDArray[np.bool_]) -> TickRows:
        """Return the rows for which ``wanted``, of shape (n,), is true."""
        return self if wanted.all() else self.take(np.flatnonzero(wanted))

    def slice(self, start: int, end: int) -> TickRows:
        """Return the rows from position ``start`` up to, not including, ``end``."""
        return TickRows.from_columns((column[start:end] for column in self.columns), self.refs[start:end])

    @property
    def sha256(self) -> str:
        """Digest over every value of every row."""
        digest = hashlib.sha256()
        for column in self.columns:
            digest.update(np.ascontiguousarray(column, dtype="<i8").data)
        digest.update(msgspec.json.encode(self.refs))
        return digest.hexdigest()


def concatenate_rows(parts: Sequence[TickRows]) -> TickRows:
    """Return the rows of all parts, in order."""
    columns = (np.concatenate(column) for column in zip(*(part.columns for part in parts), strict=True))
    return TickRows.from_columns(columns, chain.from_iterable(part.refs for part in parts))


def parse_tick_rows(fetched: Sequence[Sequence[Any]]) -> TickRows:
    """Return rows fetched by the driver: the columns of `INTEGERS`, then ``trade_ref``.

    Raises DatabaseError CORRUPT for a value of another type.
    """
    *integers, refs = zip(*fetched, strict=True)
    try:
        columns = [np.array(column, dtype=np.int64) for column in integers]
    except (TypeError, ValueError, OverflowError) as error:
        raise DatabaseError(Cause.CORRUPT, f"reading ticks: expected integers: {error}") from None
    if not {type(ref) for ref in refs} <= {int, str, type(None)}:
        raise DatabaseError(Cause.CORRUPT, "reading ticks: expected trade ids that are integers or text")
    return TickRows.from_columns(columns, refs)


def read_tick_rows(
    engine: sa.Engine, session_no: int, *, after: int = -1, rows_at_once: int = ROWS_AT_ONCE
) -> Iterator[TickRows]:
    """Yield a session's rows of ``tick_rows`` after ``seq`` ``after``, in pages, each a separate snapshot."""
    ticks = schema.TICKS.c
    query = sa.select(*(ticks[name] for name in INTEGERS), ticks.trade_ref)
    query = query.where(ticks.session_no == session_no).order_by(ticks.seq).limit(rows_at_once)
    while True:
        with transaction(engine, "reading ticks") as connection:
            # The driver's tuples: SQLAlchemy's rows take twice the time.
            fetched = connection.execute(query.where(ticks.seq > after)).cursor.fetchall()
        if not fetched:
            return
        page = parse_tick_rows(fetched)
        yield page
        after = int(page.seq[-1])
