r"""Cut text into blocks of whole physical lines, numbered from 1, in bounded memory.

in: pieces of bytes · out: `Lines`. ``\n``, ``\r\n`` and ``\r`` all end a line; a UTF-8 byte order
mark is left out. A line beyond `MAX_LINE` is reported by its beginning and skipped without being held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hybrid_platform.feeds.files.inflate import PIECE, SourceError

MAX_LINE = 1 << 20
assert PIECE <= MAX_LINE  # so that only the first line of a block can be too long
_SHOWN = 400


class Lines(NamedTuple):
    """Whole lines, each ended by one newline; or the beginning of one that is none."""

    first: int
    """Number of the first line."""
    data: bytes
    total: int
    cause: str = ""
    """Why this line is no row: ``too_long``, or ``truncated`` (the source broke off inside it)."""


def whole_lines(pieces: Iterable[bytes]) -> Iterator[Lines]:
    """Yield the lines of a source; re-raises `SourceError` after everything before it.

    An empty block is yielded while a long line is skipped, so that a reader can look up.
    """
    number, rest, skipping = 1, b"", False
    try:
        for piece in _newlines(pieces):
            if skipping:
                end = piece.find(b"\n") + 1
                if not end:
                    yield Lines(number, b"", 0)
                    continue
                piece = piece[end:]  # noqa: PLW2901
                number, skipping = number + 1, False
            data = rest + piece
            first = data.find(b"\n") + 1
            if first > MAX_LINE:
                yield Lines(number, data[:_SHOWN], 1, "too_long")
                number, data = number + 1, data[first:]
            end = data.rfind(b"\n") + 1
            if end:
                count = data.count(b"\n", 0, end)
                yield Lines(number, data[:end], count)
                number += count
            rest = data[end:]
            if len(rest) > MAX_LINE:
                yield Lines(number, rest[:_SHOWN], 1, "too_long")
                rest, skipping = b"", True
    except SourceError:
        if rest:
            yield Lines(number, rest[:_SHOWN], 1, "truncated")
        raise
    if rest:
        yield Lines(number, rest + b"\n", 1)


def _newlines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces with every line end as one newline, without a byte order mark."""
    held = b""
    beginning = True
    for piece in pieces:
        piece = held + piece  # noqa: PLW2901
        held = b""
        if beginning:
            if len(piece) < 3:
                held = piece
                continue
            piece = piece.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901
            beginning = False
        if piece.endswith(b"\r"):
            piece, held = piece[:-1], b"\r"  # noqa: PLW2901
        yield piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in piece else piece
    if held:
        yield held.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
