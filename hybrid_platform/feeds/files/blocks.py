"""Blocks of rows, and the one way to judge them: all at once where nothing is odd, else one by one (S5).

in: `Block` objects from the readers of CSV, JSONL and Parquet · out: `FeedBatch`, each with its exact
accounting. An odd block is cut in halves, so that one bad row in a million costs little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple, Protocol

from hybrid_platform.feeds.base import FeedBatch, Rejection
from hybrid_platform.feeds.files.cells import RowError
from hybrid_platform.feeds.files.columns import Rules, TickRow

_FEW_ROWS = 512
"""Below this, looking at each row costs less than trying the columns again."""
_SAMPLES = 3
_SHOWN = 200


class Row(NamedTuple):
    """One physical row."""

    number: int
    """From 1; in text files the line's."""
    cells: tuple[object, ...] | RowError
    """In the order of `Rules.fields`; or why there are none."""
    text: bytes | str
    """What stood there, for a sample."""


class Block(Protocol):
    """Neighbouring rows of one file."""

    def __len__(self) -> int:
        """Return the number of lines: at least the number of rows."""

    def columns(self, rules: Rules) -> list[Any] | None:
        """Return the rows as Arrow columns in the order of `Rules.fields`, or None where that cannot be."""

    def rows(self) -> Iterator[Row]:
        """Yield each row, good or bad."""

    def halves(self) -> tuple[Block, Block]:
        """Return the block in two."""


def judged(block: Block, rules: Rules, label: str) -> Iterator[FeedBatch]:
    """Yield a block's good ticks in order and its rejections."""
    columns = block.columns(rules)
    found = None if columns is None else rules.ticks(columns)
    if found is not None:
        ticks, crossed = found
        yield FeedBatch(ticks, len(ticks) + len(crossed), *_crossed(block, crossed.tolist(), label))
    elif len(block) <= _FEW_ROWS:
        yield judged_by_row(block, rules, label)
    else:
        for half in block.halves():
            yield from judged(half, rules, label)


def _crossed(block: Block, positions: list[int], label: str) -> tuple[dict[str, int], tuple[Rejection, ...]]:
    """Return count and samples of crossed quotes by their positions among the block's rows."""
    if not positions:
        return {}, ()
    shown = positions[:_SAMPLES]
    rows = islice(block.rows(), shown[-1] + 1)
    samples = (rejection("crossed", label, row.number, row.text) for at, row in enumerate(rows) if at in shown)
    return {"crossed": len(positions)}, tuple(samples)


def judged_by_row(block: Block, rules: Rules, label: str) -> FeedBatch:
    """Judge each row by the definition; the fast path gives the same wherever it gives anything."""
    good: list[TickRow] = []
    rejected: Counter[str] = Counter()
    samples: list[Rejection] = []
    for row in block.rows():
        try:
            if isinstance(row.cells, RowError):
                raise row.cells
            good.append(rules.row(row.cells))
        except RowError as error:
            rejected[error.cause] += 1
            if rejected[error.cause] <= _SAMPLES:
                samples.append(rejection(error.cause, label, row.number, row.text))
    return FeedBatch(rules.batch(good), len(good) + rejected.total(), rejected, tuple(samples))


def rejection(cause: str, label: str, number: int, text: bytes | str) -> Rejection:
    """Return one rejection with a printable sample of at most 200 characters."""
    raw = text if isinstance(text, str) else text[:_SHOWN].decode("utf-8", "backslashreplace")
    return Rejection(cause, f"{label}:{number}", raw[:_SHOWN].encode("unicode_escape").decode("ascii")[:_SHOWN])
