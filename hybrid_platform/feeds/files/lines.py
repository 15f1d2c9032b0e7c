r"""Blocks of whole physical lines, numbered from 1, cut from a stream of bytes in bounded memory.

in: chunks of bytes · out: `Lines`. ``\n``, ``\r\n`` and ``\r`` all end a line; a UTF-8 byte order mark is removed.
Only the beginning of a line longer than `MAX_LINE` is reported; the rest is skipped without being held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hybrid_platform.feeds.files.sources import MAX_CHUNK, SourceError

MAX_LINE = 1 << 20
assert MAX_CHUNK <= MAX_LINE  # so that only the first line of a block can be too long
_SHOWN = 400


class Lines(NamedTuple):
    """Whole lines, each ended by one newline; or the beginning of a line that is not a row."""

    first: int
    """Number of the first line."""
    data: bytes
    total: int
    cause: str = ""
    """Why this line is not a row: ``too_long``, or ``truncated`` (the source ended inside it)."""


def split_lines(chunks: Iterable[bytes]) -> Iterator[Lines]:
    """Yield the lines of a source; a `SourceError` is raised again after all lines before it.

    Empty blocks are yielded while a long line is skipped, so that the caller can check for a stop request.
    """
    number, rest, skipping = 1, b"", False
    try:
        for chunk in _normalize_newlines(chunks):
            if skipping:
                end = chunk.find(b"\n") + 1
                if not end:
                    yield Lines(number, b"", 0)
                    continue
                chunk = chunk[end:]  # noqa: PLW2901
                number, skipping = number + 1, False
            data = rest + chunk
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


def _normalize_newlines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks with every line end as one newline, and without a byte order mark."""
    held = b""
    beginning = True
    for chunk in chunks:
        chunk = held + chunk  # noqa: PLW2901
        held = b""
        if beginning:
            if len(chunk) < 3:
                held = chunk
                continue
            chunk = chunk.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901
            beginning = False
        if chunk.endswith(b"\r"):
            chunk, held = chunk[:-1], b"\r"  # noqa: PLW2901
        yield chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in chunk else chunk
    if held:
        yield held.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
