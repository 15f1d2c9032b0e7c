"""Whole physical lines from chunks with arbitrary boundaries."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_platform.feeds.files.lines import MAX_LINE, Lines, split_lines
from hybrid_platform.feeds.files.sources import SourceError

text = st.lists(st.sampled_from([b"a", b"bb", b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf", b","]), max_size=30).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(text, st.lists(st.integers(0, 60), max_size=12))
def test_lines_do_not_depend_on_chunk_boundaries(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places) if start < end]
    blocks = list(split_lines(pieces))
    assert b"".join(block.data for block in blocks).splitlines() == data.removeprefix(b"\xef\xbb\xbf").splitlines()
    number = 1
    for block in blocks:
        assert (block.first, block.total, block.cause) == (number, block.data.count(b"\n"), "")
        assert b"\r" not in block.data
        number += block.total


@pytest.mark.parametrize("pieces", [[700_000, 700_000], [1_000_000, 48_577], [10, 1_048_567], [600_000] * 9])
def test_a_long_line_is_skipped_for_any_chunks(pieces: list[int]) -> None:
    def read() -> Iterator[bytes]:
        yield b"first\n"
        for size in pieces[:-1]:
            yield b"x" * size
        yield b"x" * pieces[-1] + b"\nlast\n"

    blocks = [block for block in split_lines(read()) if block.data]
    assert [(block.first, block.cause) for block in blocks] == [(1, ""), (2, "too_long"), (3, "")]
    assert len(blocks[1].data) <= 400
    assert blocks[2].data == b"last\n"


def test_the_longest_line_that_is_allowed_is_kept() -> None:
    line = b"x" * (MAX_LINE - 1)
    assert list(split_lines([line[:600_000], line[600_000:], b"\nlast"])) == [
        Lines(1, line + b"\n", 1),
        Lines(2, b"last\n", 1),
    ]


def test_a_source_that_ends_inside_a_line_is_truncated() -> None:
    """The lines before it are yielded first."""

    def broken() -> Iterator[bytes]:
        yield b"one\ntw"
        raise SourceError("is truncated")

    lines = split_lines(broken())
    assert next(lines) == Lines(1, b"one\n", 1)
    assert next(lines) == Lines(2, b"tw", 1, "truncated")
    with pytest.raises(SourceError, match="is truncated"):
        next(lines)
