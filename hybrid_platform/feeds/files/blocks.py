"""Parsing of blocks of rows: all at once if nothing is unusual, else row by row (S5, L3).

in: `Block` objects from the readers of CSV, JSONL and Parquet · out: `FeedBatch` objects, each with its exact
accounting. A block with an unusual row is split in halves, so that one bad row in a million costs little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple, Protocol

from hybrid_platform.domain.ticks import TickRow
from hybrid_platform.feeds.base import FeedBatch, Rejection
from hybrid_platform.feeds.files.cells import RowError
from hybrid_platform.feeds.files.columns import TickParser

_FEW_ROWS = 512
"""Up to this size, parsing row by row costs less than trying the columns of both halves."""
_MAX_SAMPLES = 3
_SAMPLE_CHARS = 200


class Row(NamedTuple):
    """One physical row."""

    number: int
    """Counted from 1; the line number in text files."""
    cells: tuple[object, ...] | RowError
    """In the order of `TickParser.fields`, or the reason why the row has none."""
    text: bytes | str
    """The row as it was written, for a sample."""


class Block(Protocol):
    """Neighbouring rows of one file."""

    def __len__(self) -> int:
        """Return the number of lines, which is at least the number of rows."""

    def columns(self, parser: TickParser) -> list[Any] | None:
        """Return the rows as Arrow columns in the order of `TickParser.fields`, or None if that is not possible."""

    def rows(self) -> Iterator[Row]:
        """Yield each row, good or bad."""

    def split(self) -> tuple[Block, Block]:
        """Return the two halves of the block."""


def parse_block(block: Block, parser: TickParser, label: str) -> Iterator[FeedBatch]:
    """Yield a block's valid ticks in order and its rejections."""
    columns = block.columns(parser)
    found = None if columns is None else parser.parse_columns(columns)
    if found is not None:
        ticks, crossed = found
        yield FeedBatch(ticks, len(ticks) + len(crossed), *_sample_crossed(block, crossed.tolist(), label))
    elif len(block) <= _FEW_ROWS:
        yield parse_rows(block, parser, label)
    else:
        for half in block.split():
            yield from parse_block(half, parser, label)


def _sample_crossed(block: Block, positions: list[int], label: str) -> tuple[dict[str, int], tuple[Rejection, ...]]:
    """Return count and samples of the crossed quotes at these positions among the block's rows."""
    if not positions:
        return {}, ()
    shown = positions[:_MAX_SAMPLES]
    rows = islice(block.rows(), shown[-1] + 1)
    samples = (make_rejection("crossed", label, row.number, row.text) for at, row in enumerate(rows) if at in shown)
    return {"crossed": len(positions)}, tuple(samples)


def parse_rows(block: Block, parser: TickParser, label: str) -> FeedBatch:
    """Parse each row by the definition; the fast path gives the same result whenever it gives one."""
    good: list[TickRow] = []
    rejected: Counter[str] = Counter()
    samples: list[Rejection] = []
    for row in block.rows():
        try:
            if isinstance(row.cells, RowError):
                raise row.cells
            good.append(parser.parse_row(row.cells))
        except RowError as error:
            rejected[error.cause] += 1
            if rejected[error.cause] <= _MAX_SAMPLES:
                samples.append(make_rejection(error.cause, label, row.number, row.text))
    return FeedBatch(parser.build_batch(good), len(good) + rejected.total(), rejected, tuple(samples))


def make_rejection(cause: str, label: str, number: int, text: bytes | str) -> Rejection:
    """Return a rejection with a printable sample of at most 200 characters."""
    raw = text if isinstance(text, str) else text[:_SAMPLE_CHARS].decode("utf-8", "backslashreplace")
    return Rejection(
        cause, f"{label}:{number}", raw[:_SAMPLE_CHARS].encode("unicode_escape").decode("ascii")[:_SAMPLE_CHARS]
    )
