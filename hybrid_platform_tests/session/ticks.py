"""Messages of ticks for the tests of the session.

A table of one instrument (`single_table`) and a message of numbered ticks (`tick_message`).
"""

from __future__ import annotations

from hybrid_platform.domain.instruments import InstrumentTable, infer_instrument
from hybrid_platform.domain.ticks import batch_from_rows
from hybrid_platform.session.messages import TickMessage


def single_table() -> InstrumentTable:
    """Return a table of one instrument."""
    table = InstrumentTable()
    table.add(infer_instrument("V", "A-USD"))
    return table


def tick_message(table: InstrumentTable, first: int, refs: list[int | str | None]) -> TickMessage:
    """Return ticks numbered from ``first``, one for each trade id."""
    rows = [(0, 100 + first + n, 1, 0, ref, first + n, first + n) for n, ref in enumerate(refs)]
    return TickMessage(batch_from_rows(table, rows).with_seq_from(first))
