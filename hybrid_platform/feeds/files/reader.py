"""Reader of one source: its layout is determined once, at open; its rows can be read any number of times.

in: a `Source` and the settings · out: its `FeedBatch` objects in the file's own order. Every fault that shows at the
beginning of the file raises one ConfigError at open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.feeds.base import FeedBatch
from hybrid_platform.feeds.files.blocks import Block, make_rejection, parse_block
from hybrid_platform.feeds.files.cells import RowError
from hybrid_platform.feeds.files.columns import SymbolInterner, TickParser
from hybrid_platform.feeds.files.formats.csv import CsvBlock, split_line
from hybrid_platform.feeds.files.formats.jsonl import decode_object, json_blocks
from hybrid_platform.feeds.files.formats.parquet import parquet_blocks, read_schema
from hybrid_platform.feeds.files.layouts import (
    Layout,
    choose_json_layout,
    map_csv_columns,
    map_named_columns,
    resolve_path_facts,
)
from hybrid_platform.feeds.files.lines import Lines, split_lines
from hybrid_platform.feeds.files.sources import PATH_SETTING, Source, SourceError
from hybrid_platform.settings.feeds import ReplayFeed

_HEAD_LINES = 100
"""Number of first lines from which the layout is determined."""
_JSON_NAMES = (".jsonl", ".ndjson", ".json")

ReadParts = Callable[[], Iterator[Block | FeedBatch]]
"""Reads a source from its beginning: blocks to parse and finished batches; raises SourceError."""
SplitBlocks = Callable[[Lines], Iterator[Block]]
"""Whole lines -> their blocks."""


@dataclass(frozen=True)
class SourceReader:
    """Reader of one source."""

    source: Source
    read_parts: ReadParts
    parser: TickParser | None = None
    """None: the source holds nothing to parse."""

    def batches(self) -> Iterator[FeedBatch]:
        """Yield the source's batches from its beginning; raise SourceError after its last good row."""
        for part in self.read_parts():
            if isinstance(part, FeedBatch):
                yield part
            elif self.parser is not None:
                yield from parse_block(part, self.parser, self.source.label)


class ReaderFactory:
    """Factory of the readers of one feed."""

    def __init__(self, settings: ReplayFeed, symbols: SymbolInterner) -> None:
        self._settings = settings
        self._symbols = symbols

    def create(self, source: Source) -> SourceReader:
        """Return a reader for a source after reading its beginning; raise ConfigError for its faults.

        A damaged source fails only when it is read, after its readable rows and those of other files.
        """
        try:
            return (
                self._create_parquet_reader(source)
                if source.container == "parquet"
                else self._create_text_reader(source)
            )
        except SourceError as error:
            return SourceReader(source, partial(_raise_later, error))

    def _create_parquet_reader(self, source: Source) -> SourceReader:
        with source.open() as file:
            schema = read_schema(file)
        found = map_named_columns(self._settings, source, schema.names)
        names = [schema.names[position] for position in found.positions]
        layout = found.layout
        units = schema.timestamp_units(dict(zip(layout.fields, names, strict=True)), source.label)
        recv_unit = units.get("ts_recv") or layout.recv_unit or layout.ts_unit
        layout = replace(layout, ts_unit=units.get("ts", layout.ts_unit), recv_unit=recv_unit)
        parser = self._create_parser(layout, source)

        def read_parts() -> Iterator[Block | FeedBatch]:
            with source.open() as file:
                yield from parquet_blocks(file, names, parser.fields)

        return SourceReader(source, read_parts, parser)

    def _create_text_reader(self, source: Source) -> SourceReader:
        head = _read_head(source)
        if not any(line.strip() for line in head):
            return SourceReader(source, lambda: _check_blank(source))
        name = source.full_name.lower().removesuffix(".gz")
        if name.endswith(_JSON_NAMES) or head[0].lstrip().startswith(b"{"):
            return self._create_json_reader(source, head)
        return self._create_csv_reader(source, head)

    def _create_csv_reader(self, source: Source, head: list[bytes]) -> SourceReader:
        rows = []
        for line in head:
            with suppress(RowError):
                rows.append([cell.strip() for cell in split_line(line)])
        found = map_csv_columns(self._settings, source, rows or [[""]])
        parser = self._create_parser(found.layout, source)

        def split_blocks(lines: Lines) -> Iterator[Block]:
            yield CsvBlock(lines, found.positions, found.widths.__contains__)

        return SourceReader(source, lambda: _read_lines(source, parser, split_blocks, found.has_header), parser)

    def _create_json_reader(self, source: Source, head: list[bytes]) -> SourceReader:
        objects = []
        for line in head:
            with suppress(RowError):
                objects.append(tuple(decode_object(line)))
        layout = choose_json_layout(self._settings, source, objects)
        keys = [str(column) for column in layout.fields.values()]
        parser = self._create_parser(layout, source)

        def split_blocks(lines: Lines) -> Iterator[Block]:
            return json_blocks(lines, keys)

        return SourceReader(source, lambda: _read_lines(source, parser, split_blocks, False), parser)

    def _create_parser(self, layout: Layout, source: Source) -> TickParser:
        day, symbol = resolve_path_facts(layout, source, self._settings)
        return TickParser(layout, day, symbol, self._symbols)


def _read_head(source: Source) -> list[bytes]:
    """Return a text source's first lines; raise ConfigError if it is not UTF-8 text."""
    head = next(split_lines(source.chunks()), Lines(1, b"", 0))
    if head.cause == "too_long":
        raise ConfigError([Fault(PATH_SETTING, "a first line of at most 1 MiB", f"a longer one in {source.label}")])
    if head.cause == "truncated":
        raise SourceError("is truncated in its first line")
    lines = head.data.split(b"\n", _HEAD_LINES)[:_HEAD_LINES]
    if b"\0" in lines[0] or lines[0].startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError([Fault(PATH_SETTING, "UTF-8 text", f"UTF-16 or binary data in {source.label}")])
    return lines


def _read_lines(
    source: Source, parser: TickParser, split_blocks: SplitBlocks, has_header: bool
) -> Iterator[Block | FeedBatch]:
    """Yield a text source's blocks, without its header line, and rejections for lines that are not rows."""
    no_ticks = parser.build_batch(())
    for lines in split_lines(source.chunks()):
        if lines.cause:
            sample = make_rejection(lines.cause, source.label, lines.first, lines.data)
            yield FeedBatch(no_ticks, 1, {lines.cause: 1}, (sample,))
        elif not lines.data:
            yield FeedBatch(no_ticks, 0)
        elif has_header and lines.first == 1:
            yield from split_blocks(Lines(2, lines.data[lines.data.find(b"\n") + 1 :], lines.total - 1))
        else:
            yield from split_blocks(lines)


def _check_blank(source: Source) -> Iterator[Block | FeedBatch]:
    """Check that a source whose beginning is blank has no rows at all."""
    for lines in split_lines(source.chunks()):
        if lines.data.strip():
            raise SourceError(f"begins with blank lines: expected its first row, got line {lines.first} or later")
    yield from ()


def _raise_later(error: SourceError) -> Iterator[Block | FeedBatch]:
    yield from ()
    raise error
