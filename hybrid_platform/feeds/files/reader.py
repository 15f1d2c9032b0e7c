"""One source and its layout, made once at open, read from the start as often as wanted.

in: a `Source` and the settings · out: its `FeedBatch` objects in the file's own order; before that, one
ConfigError for what can be known without reading it all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.feeds.base import FeedBatch
from hybrid_platform.feeds.files.blocks import Block, judged, rejection
from hybrid_platform.feeds.files.cells import RowError
from hybrid_platform.feeds.files.columns import Rules, Symbols
from hybrid_platform.feeds.files.formats.csv import CsvBlock, split_line
from hybrid_platform.feeds.files.formats.jsonl import decode_object, json_blocks
from hybrid_platform.feeds.files.formats.parquet import parquet_blocks, read_schema
from hybrid_platform.feeds.files.inflate import SourceError
from hybrid_platform.feeds.files.layout import Layout
from hybrid_platform.feeds.files.lines import Lines, whole_lines
from hybrid_platform.feeds.files.recognise import find_in_names, find_in_objects, find_in_rows, origin_of
from hybrid_platform.feeds.files.sources import PATH_SETTING, Source
from hybrid_platform.settings.feeds import ReplayFeed

_HEAD_LINES = 100
"""So many lines are looked at to learn what a file is."""
_JSON_NAMES = (".jsonl", ".ndjson", ".json")

Content = Callable[[], Iterator[Block | FeedBatch]]
"""What a source holds, from its beginning; raises SourceError."""
Blocks = Callable[[Lines], Iterator[Block]]
"""Whole lines -> their blocks."""


@dataclass(frozen=True)
class Reader:
    """Reads one source."""

    source: Source
    content: Content
    rules: Rules | None = None
    """None: nothing in it can be judged."""

    def batches(self) -> Iterator[FeedBatch]:
        """Yield what the source holds, from its beginning; raise SourceError after its last good row."""
        for part in self.content():
            if isinstance(part, FeedBatch):
                yield part
            elif self.rules is not None:
                yield from judged(part, self.rules, self.source.label)


class ReaderFactory:
    """Makes the readers of one feed."""

    def __init__(self, settings: ReplayFeed, symbols: Symbols) -> None:
        self._settings = settings
        self._symbols = symbols

    def reader(self, source: Source) -> Reader:
        """Look at a source's beginning and return how to read it; raise ConfigError for what is wrong with it.

        A damaged source raises when it is read: what can be read of it, and other files, come first.
        """
        try:
            return self._of_parquet(source) if source.container == "parquet" else self._of_text(source)
        except SourceError as error:
            return Reader(source, partial(_raising, error))

    def _of_parquet(self, source: Source) -> Reader:
        with source.open() as file:
            schema = read_schema(file)
        found = find_in_names(self._settings, source, schema.names)
        names = [schema.names[position] for position in found.positions]
        stated = found.layout
        own = schema.own_units(dict(zip(stated.fields, names, strict=True)), source.label)
        recv_unit = own.get("ts_recv") or stated.recv_unit or stated.ts_unit
        layout = replace(stated, ts_unit=own.get("ts", stated.ts_unit), recv_unit=recv_unit)
        rules = self._rules(layout, source)

        def content() -> Iterator[Block | FeedBatch]:
            with source.open() as file:
                yield from parquet_blocks(file, names, rules.fields)

        return Reader(source, content, rules)

    def _of_text(self, source: Source) -> Reader:
        head = _head(source)
        if not any(line.strip() for line in head):
            return Reader(source, lambda: _blank(source))
        name = source.full_name.lower().removesuffix(".gz")
        if name.endswith(_JSON_NAMES) or head[0].lstrip().startswith(b"{"):
            return self._of_json(source, head)
        return self._of_csv(source, head)

    def _of_csv(self, source: Source, head: list[bytes]) -> Reader:
        rows = []
        for line in head:
            with suppress(RowError):
                rows.append([cell.strip() for cell in split_line(line)])
        found = find_in_rows(self._settings, source, rows or [[""]])
        rules = self._rules(found.layout, source)

        def blocks(lines: Lines) -> Iterator[Block]:
            yield CsvBlock(lines, found.positions, found.widths.__contains__)

        return Reader(source, lambda: _lines(source, rules, blocks, found.has_header), rules)

    def _of_json(self, source: Source, head: list[bytes]) -> Reader:
        objects = []
        for line in head:
            with suppress(RowError):
                objects.append(tuple(decode_object(line)))
        layout = find_in_objects(self._settings, source, objects)
        keys = [str(column) for column in layout.fields.values()]
        rules = self._rules(layout, source)

        def blocks(lines: Lines) -> Iterator[Block]:
            return json_blocks(lines, keys)

        return Reader(source, lambda: _lines(source, rules, blocks, False), rules)

    def _rules(self, layout: Layout, source: Source) -> Rules:
        origin, symbol = origin_of(layout, source, self._settings)
        return Rules(layout, origin, symbol, self._symbols)


def _head(source: Source) -> list[bytes]:
    """Return a text source's first lines; raise ConfigError where it is no UTF-8 text."""
    head = next(whole_lines(source.pieces()), Lines(1, b"", 0))
    if head.cause == "too_long":
        raise ConfigError([Fault(PATH_SETTING, "a first line of at most 1 MiB", f"a longer one in {source.label}")])
    if head.cause == "truncated":
        raise SourceError("is truncated in its first line")
    lines = head.data.split(b"\n", _HEAD_LINES)[:_HEAD_LINES]
    if b"\0" in lines[0] or lines[0].startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError([Fault(PATH_SETTING, "UTF-8 text", f"UTF-16 or binary data in {source.label}")])
    return lines


def _lines(source: Source, rules: Rules, blocks: Blocks, has_header: bool) -> Iterator[Block | FeedBatch]:
    """Yield a text source's blocks, without its header line, and the lines that are none as rejections."""
    nothing = rules.batch(())
    for lines in whole_lines(source.pieces()):
        if lines.cause:
            sample = rejection(lines.cause, source.label, lines.first, lines.data)
            yield FeedBatch(nothing, 1, {lines.cause: 1}, (sample,))
        elif not lines.data:
            yield FeedBatch(nothing, 0)
        elif has_header and lines.first == 1:
            yield from blocks(Lines(2, lines.data[lines.data.find(b"\n") + 1 :], lines.total - 1))
        else:
            yield from blocks(lines)


def _blank(source: Source) -> Iterator[Block | FeedBatch]:
    """Read a source that began without a single row, and make sure that it has none."""
    for lines in whole_lines(source.pieces()):
        if lines.data.strip():
            raise SourceError(f"begins with blank lines: expected its first row, got line {lines.first} or later")
    yield from ()


def _raising(error: SourceError) -> Iterator[Block | FeedBatch]:
    yield from ()
    raise error
