"""Recorded frames as a feed: what a venue sent, read by the decoder that reads it live.

in: recordings of `FrameRecorder` or of hftbacktest (``.rec``, ``.rec.gz``), or ``.jsonl`` with the
receive times beside it in ``.recv.txt`` (each also ``.gz``) · out: `FeedBatch`es, lossless. Memory is
bounded by one chunk of frames.
"""

from __future__ import annotations

import heapq
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from hybrid_platform.domain.clocks import NS_PER_S, Clock
from hybrid_platform.domain.decimals import parse_decimal, to_units
from hybrid_platform.domain.errors import ConfigError, Fault, FeedParseError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.feeds.base import FeedBatch, Stopper
from hybrid_platform.feeds.files.inflate import SourceError
from hybrid_platform.feeds.files.sources import Source, find_sources
from hybrid_platform.feeds.websocket.gaps import GapNumbers, GapTracker
from hybrid_platform.feeds.websocket.reader import FrameReader
from hybrid_platform.feeds.websocket.venues import venue_of
from hybrid_platform.settings.feeds import ReplayFeed

CHUNK = 4_096
"""Frames read before their ticks are handed on."""
MAX_LINE = 2**24
"""Bytes of one frame; what is longer is cut, and then rejected as the damaged JSON it is."""
_TIMES = ".recv.txt"
_WAIT_S = 0.25


class RecordedFrame(NamedTuple):
    """One line of a recording."""

    ts_recv: int
    """Nanoseconds; 0 where the recording has none."""
    frame: bytes
    binary: bool = False
    fault: str = ""
    """Not empty: the line itself is damaged, and this is the cause."""


def read_frames(source: Source) -> Iterator[RecordedFrame]:
    """Yield the frames of one recording in order.

    Raises FeedParseError, after all that could be read, where the file breaks off, and for a
    ``.jsonl`` whose receive times are fewer than its frames.
    """
    plain = Path(source.path).with_suffix("") if source.path.endswith(".gz") else Path(source.path)
    if plain.suffix == ".rec":
        yield from map(_recorded, _lines(source))
        return
    beside = plain.with_suffix(_TIMES)
    times = next((p for p in (beside, beside.with_name(beside.name + ".gz")) if p.is_file()), None)
    if times is None:
        yield from (RecordedFrame(0, line) for line in _lines(source))
        return
    moments = _lines(find_sources([str(times)])[0])
    for number, line in enumerate(_lines(source), 1):
        moment = next(moments, None)
        if moment is None:
            raise FeedParseError(f"{times.name}: expected a receive time for each frame, ended before frame {number}")
        try:
            yield RecordedFrame(_moment(moment), line)
        except ValueError:
            yield RecordedFrame(0, line, fault="bad_receive_time")


def _moment(text: bytes) -> int:
    """Return nanoseconds: 19 digits are that, anything else is seconds."""
    number = text.strip().decode("ascii")
    return int(number) if len(number) == 19 and number.isdigit() else to_units(parse_decimal(number), 9)


def _recorded(line: bytes) -> RecordedFrame:
    moment, mark, frame = line[:19], line[19:20], line[20:]
    if moment.isdigit() and mark == b" ":
        return RecordedFrame(int(moment), frame)
    if moment.isdigit() and mark in {b"~", b"="}:
        with suppress(ValueError):
            return RecordedFrame(int(moment), b64decode(frame, validate=True), binary=mark == b"=")
    return RecordedFrame(0, line, fault="bad_recording")


def _lines(source: Source) -> Iterator[bytes]:
    """Yield lines without their ends; one longer than `MAX_LINE` comes as its beginning, cut there."""
    rest = b""
    try:
        for piece in source.pieces():
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line[:MAX_LINE].removesuffix(b"\r") for line in lines)
            # What is beyond the limit is dropped here, so that an endless line costs no memory.
            rest = rest[: MAX_LINE + 1]
    except SourceError as error:
        if rest:
            yield rest[:MAX_LINE]
        raise FeedParseError(f"{source.label} {error}") from None
    if rest:
        yield rest[:MAX_LINE]


class FrameRecordingFeed:
    """A `Feed` over recorded frames: the settings' ``frames`` say whose they are.

    ``speed``, ``limit``, ``order``, ``symbol`` and ``quote`` mean what they mean for any replay; the
    receive times are the recorded ones, else the event times.
    """

    name = "replay"

    def __init__(self, settings: ReplayFeed, table: InstrumentTable, clock: Clock) -> None:
        if settings.frames is None:
            raise ConfigError([Fault("feed.replay.frames", "the venue of the recorded frames", "null")])
        self._settings = settings
        self._clock = clock
        self._sources: list[Source] = []
        self._damaged: FeedParseError | None = None
        venue = venue_of(settings.frames)
        self._gaps = GapTracker(venue.label, contiguous=venue.contiguous, numbers=GapNumbers())
        self.reader = FrameReader(venue, table, self._gaps, quote=settings.frames.quote, only=settings.symbol)

    def open(self) -> None:
        """Find the files; raises ConfigError naming each that is no regular, readable file."""
        found = find_sources(self._settings.paths)
        self._sources = [source for source in found if _TIMES not in source.path]

    def batches(self, stop: Stopper) -> Iterator[FeedBatch]:
        """Yield all ticks in order of receipt; raises FeedParseError after the good ones."""
        accepted = rejected = 0
        for read in self._read(stop):
            batch = read
            left = None if self._settings.limit is None else self._settings.limit - accepted
            if left is not None and len(batch.ticks) > left:
                surplus = len(batch.ticks) - left
                batch = batch._replace(ticks=batch.ticks[:left], received=batch.received - surplus)
            accepted += len(batch.ticks)
            rejected += sum(batch.rejected.values())
            yield batch
            if accepted == self._settings.limit:
                return
        if rejected and not accepted and not stop.is_set():
            names = ", ".join(source.label for source in self._sources)
            raise FeedParseError(f"{names}: expected trades, all {rejected} frames were bad")

    def _read(self, stop: Stopper) -> Iterator[FeedBatch]:
        started, first, now = self._clock.monotonic_ns(), 0, 0
        for number, recorded in enumerate(self._frames(), 1):
            if stop.is_set():
                break
            now = recorded.ts_recv or now
            first = first or now
            while (wait_s := self._early_s(started, now - first)) > 0 and not stop.is_set():
                yield from self.reader.take(self._gaps.settle(now))
                stop.wait(min(wait_s, _WAIT_S))
            if recorded.fault:
                self.reader.reject(recorded.fault, recorded.frame)
            else:
                self.reader.read(recorded.frame, recorded.ts_recv, binary=recorded.binary)
            if number % CHUNK == 0:
                yield from self.reader.take(self._gaps.settle(now))
        yield from self.reader.take(self._gaps.finish(now))
        if self._damaged is not None:
            raise self._damaged

    def _frames(self) -> Iterator[RecordedFrame]:
        readers = [self._kept(source) for source in self._sources]
        if self._settings.order == "time" and len(readers) > 1:
            yield from heapq.merge(*readers, key=attrgetter("ts_recv"))
        else:
            for reader in readers:
                yield from reader

    def _kept(self, source: Source) -> Iterator[RecordedFrame]:
        """Read a file as far as it goes; a damaged one must not keep the others from being read."""
        try:
            yield from read_frames(source)
        except FeedParseError as error:
            self._damaged = self._damaged or error

    def _early_s(self, started: int, since_first_ns: int) -> float:
        """Return how many seconds it is too early for a frame, at the wanted speed."""
        if self._settings.speed == "max":
            return 0.0
        return (since_first_ns / self._settings.speed - (self._clock.monotonic_ns() - started)) / NS_PER_S

    def close(self) -> None:
        """Nothing stays open between two reads."""
