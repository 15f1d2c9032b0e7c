"""Comparison of reproduced records with a table's rows, in bounded memory: digests, counts, the first difference.

in: records in the order of their decisions, and the table's rows in their order · out: a `TableComparison`. A record
is converted to the row that the writer would write, and compared exactly.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from hybrid_platform.domain.orders import OrderRecord, Record
from hybrid_platform.evidence.reproduction import Difference, TableComparison
from hybrid_platform.storage.rows import RECORD_LAYOUTS, record_rows

BATCH_ROWS = 1_024
LOOK_AHEAD = 64
"""Rows searched for one that is not at its place, before it counts as missing."""
Row = tuple[Any, ...]
_AT_END = 2**63 - 1


class LocatedDifference(NamedTuple):
    """A difference, with the position of its decision in the session."""

    position: int
    difference: Difference


class _Digest:
    """SHA-256 over rows, as JSON lines."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._encode = msgspec.json.Encoder().encode

    def add(self, row: Row) -> None:
        self._sha256.update(self._encode(row) + b"\n")

    def hex(self) -> str:
        return self._sha256.hexdigest()


class TableComparer:
    """The comparison of one table. An order is compared where it first appears, and its status at the end."""

    def __init__(self, kind: type[Record], recorded: Iterator[Row], *, whole: bool) -> None:
        """``whole``: every row must exist on both sides; else compare while both have rows, without orders' status."""
        self._whole = whole
        self._layout = layout = RECORD_LAYOUTS[kind]
        self._key = layout.columns.index(layout.key)
        # Numbers given by the writer only show the order, and have gaps where orders change their status.
        self._from = int(layout.is_numbered)
        self._status = layout.columns.index("status") if kind is OrderRecord else None
        self._recorded = recorded
        self._ahead: deque[Row] = deque()
        self._waiting: list[tuple[int, Any]] = []
        self._orders: dict[str, str] = {}
        """Latest reproduced status by order id."""
        self._ends: dict[str, tuple[int, str]] = {}
        """Recorded number and status by order id."""
        self._digests = _Digest(), _Digest()
        self._counts = [0, 0, 0]
        self._compared = 0
        self.first: LocatedDifference | None = None
        self._differing = 0

    def add(self, position: int, record: Any) -> None:
        """Add a record; ``position`` is its place among all records of the session."""
        if self._status is not None:
            is_known = record.order_id in self._orders
            self._orders[record.order_id] = str(record.status.value)
            if is_known:
                return
        self._waiting.append((position, record))
        if len(self._waiting) >= BATCH_ROWS:
            self._flush()

    def finish(self) -> TableComparison:
        """Return the result, after every record was added."""
        self._flush()
        while (row := self._peek()) is not None:
            self._counts[0] += 1
            self._ahead.popleft()
            if self._whole:
                self._differ(_AT_END, row, "row", "none", _format_row(row))
        if self._whole and self._status is not None:
            self._compare_ends()
        recorded, reproduced = (digest.hex() for digest in self._digests)
        return TableComparison(
            self._layout.name,
            self._counts[0],
            self._counts[1],
            self._compared,
            self._differing,
            recorded,
            reproduced,
            self.first.difference if self.first else None,
        )

    def _flush(self) -> None:
        rows = record_rows(self._layout, [record for _, record in self._waiting], self._counts[1])
        for (position, _), row in zip(self._waiting, rows, strict=True):
            self._compare_next(position, row)
        self._waiting.clear()

    def _compare_next(self, position: int, row: Row) -> None:
        self._counts[1] += 1
        place = self._find(row[self._key])
        if place is None:
            if self._whole or self._ahead:
                self._differ(position, row, "row", _format_row(row), "none")
            return
        for _ in range(place):
            extra = self._next()
            self._differ(position, extra, "row", "none", _format_row(extra))
        self._compare(position, row, self._next())

    def _compare(self, position: int, row: Row, recorded: Row) -> None:
        self._compared += 1
        if self._status is not None:
            self._ends[row[self._key]] = recorded[0], str(recorded[self._status])
            row, recorded = self._without_status(row), self._without_status(recorded)
        found, expected = recorded[self._from :], row[self._from :]
        self._digests[0].add(found)
        if found == expected:
            self._digests[1].add(found)
            return
        self._digests[1].add(expected)
        place = next(i for i, (a, b) in enumerate(zip(expected, found, strict=True)) if a != b)
        self._differ(
            position, recorded, self._layout.columns[place + self._from], _text(expected[place]), _text(found[place])
        )

    def _compare_ends(self) -> None:
        for order_id, (n, was) in self._ends.items():
            expected = self._orders[order_id]
            self._digests[0].add((order_id, was))
            self._digests[1].add((order_id, expected))
            if was != expected:
                difference = Difference("orders", n, order_id, "status", expected, was)
                self._note(LocatedDifference(_AT_END, difference))

    def _without_status(self, row: Row) -> Row:
        return row if self._status is None else (*row[: self._status], "", *row[self._status + 1 :])

    def _find(self, key: object) -> int | None:
        """Return the number of rows before the one with this key, or None if it is not within `LOOK_AHEAD`."""
        if (row := self._peek()) is None:
            return None
        if row[self._key] == key:
            return 0
        self._ahead.extend(islice(self._recorded, LOOK_AHEAD - len(self._ahead)))
        return next((place for place, row in enumerate(self._ahead) if row[self._key] == key), None)

    def _peek(self) -> Row | None:
        if not self._ahead:
            self._ahead.extend(islice(self._recorded, 1))
        return self._ahead[0] if self._ahead else None

    def _next(self) -> Row:
        self._counts[0] += 1
        return self._ahead.popleft()

    def _differ(self, position: int, row: Row, field: str, expected: str, was: str) -> None:
        key = f"{self._layout.key}={row[self._key]}"
        self._note(LocatedDifference(position, Difference(self._layout.name, row[0], key, field, expected, was)))

    def _note(self, found: LocatedDifference) -> None:
        self._differing += 1
        if self.first is None:
            self.first = found


def _text(value: object) -> str:
    return str(value)[:200]


def _format_row(row: Row) -> str:
    return _text(" ".join(map(str, row[1:])))
