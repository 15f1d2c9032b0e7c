"""Replay of recorded frames, read by the same decoders as live frames.

in: recordings of `FrameRecorder` or of hftbacktest (``.rec``, ``.rec.gz``), or a ``.jsonl`` file with the receive
times in a ``.recv.txt`` file next to it (each also ``.gz``) · out: `FeedBatch` objects, lossless. Memory is bounded by
one chunk of frames.
"""

from __future__ import annotations

import heapq
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from hybrid_platform.domain.clocks import NS_PER_S, Clock, Stopper
from hybrid_platform.domain.decimals import parse_decimal, to_units
from hybrid_platform.domain.errors import ConfigError, Fault, FeedParseError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.feeds.base import FeedBatch
from hybrid_platform.feeds.files.sources import Source, SourceError, find_sources
from hybrid_platform.feeds.websocket.gaps import GapNumbers, GapTracker
from hybrid_platform.feeds.websocket.reader import FrameReader
from hybrid_platform.feeds.websocket.venues import create_venue
from hybrid_platform.settings.feeds import ReplayFeed

CHUNK_FRAMES = 4_096
"""Frames read before their ticks are passed on."""
MAX_LINE = 2**24
"""Longest frame in bytes; a longer one is cut and then rejected as damaged JSON."""
_TIMES_SUFFIX = ".recv.txt"
_MAX_WAIT_S = 0.25


class RecordedFrame(NamedTuple):
    """One line of a recording."""

    ts_recv: int
    """Nanoseconds; 0 if the recording has no receive time."""
    frame: bytes
    binary: bool = False
    fault: str = ""
    """Not empty: the cause for which the line itself is rejected."""


def read_frames(source: Source) -> Iterator[RecordedFrame]:
    """Yield the frames of one recording in order.

    Raises FeedParseError, after all readable frames, if the file is damaged or truncated, or if a
    ``.jsonl`` file has fewer receive times than frames.
    """
    plain = Path(source.path).with_suffix("") if source.path.endswith(".gz") else Path(source.path)
    if plain.suffix == ".rec":
        yield from map(_parse_line, _read_lines(source))
        return
    times_path = plain.with_suffix(_TIMES_SUFFIX)
    candidates = (times_path, times_path.with_name(times_path.name + ".gz"))
    times = next((path for path in candidates if path.is_file()), None)
    if times is None:
        yield from (RecordedFrame(0, line) for line in _read_lines(source))
        return
    receive_times = _read_lines(find_sources([str(times)])[0])
    for number, line in enumerate(_read_lines(source), 1):
        receive_time = next(receive_times, None)
        if receive_time is None:
            raise FeedParseError(f"{times.name}: expected a receive time for each frame, ended before frame {number}")
        try:
            yield RecordedFrame(_parse_receive_time(receive_time), line)
        except ValueError:
            yield RecordedFrame(0, line, fault="bad_receive_time")


def _parse_receive_time(text: bytes) -> int:
    """Return nanoseconds from 19 digits of nanoseconds, or from a number of seconds."""
    number = text.strip().decode("ascii")
    return int(number) if len(number) == 19 and number.isdigit() else to_units(parse_decimal(number), 9)


def _parse_line(line: bytes) -> RecordedFrame:
    ts_recv, mark, frame = line[:19], line[19:20], line[20:]
    if ts_recv.isdigit() and mark == b" ":
        return RecordedFrame(int(ts_recv), frame)
    if ts_recv.isdigit() and mark in {b"~", b"="}:
        with suppress(ValueError):
            return RecordedFrame(int(ts_recv), b64decode(frame, validate=True), binary=mark == b"=")
    return RecordedFrame(0, line, fault="bad_recording")


def _read_lines(source: Source) -> Iterator[bytes]:
    """Yield lines without their line ends; one longer than `MAX_LINE` is cut there."""
    rest = b""
    try:
        for chunk in source.chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line[:MAX_LINE].removesuffix(b"\r") for line in lines)
            # Drop the rest of a longer line, so that an endless one costs no memory.
            rest = rest[: MAX_LINE + 1]
    except SourceError as error:
        if rest:
            yield rest[:MAX_LINE]
        raise FeedParseError(f"{source.label} {error}") from None
    if rest:
        yield rest[:MAX_LINE]


class RecordedFramesFeed:
    """A `Feed` of recorded frames; the settings' ``frames`` name their venue.

    ``speed``, ``limit``, ``order``, ``symbol`` and ``quote`` apply as to any replay. Receive times are the
    recorded ones, or the event times if there are none.
    """

    name = "replay"

    def __init__(self, settings: ReplayFeed, table: InstrumentTable, clock: Clock) -> None:
        if settings.frames is None:
            raise ConfigError([Fault("feed.replay.frames", "the venue of the recorded frames", "null")])
        self._settings = settings
        self._clock = clock
        self._sources: list[Source] = []
        self._damage: FeedParseError | None = None
        venue = create_venue(settings.frames)
        self._gaps = GapTracker(venue.label, contiguous=venue.contiguous, numbers=GapNumbers())
        self.reader = FrameReader(venue, table, self._gaps, quote=settings.frames.quote, only=settings.symbol)

    def open(self) -> None:
        """Find the files; raise ConfigError naming each path that is not a regular, readable file."""
        found = find_sources(self._settings.paths)
        self._sources = [source for source in found if _TIMES_SUFFIX not in source.path]

    def batches(self, stop: Stopper) -> Iterator[FeedBatch]:
        """Yield all ticks in order of receipt; raise FeedParseError after the good ones."""
        accepted = rejected = 0
        for read in self._read(stop):
            batch = read
            remaining = None if self._settings.limit is None else self._settings.limit - accepted
            if remaining is not None and len(batch.ticks) > remaining:
                surplus = len(batch.ticks) - remaining
                batch = batch._replace(ticks=batch.ticks[:remaining], received=batch.received - surplus)
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
            while (wait_s := self._remaining_wait_s(started, now - first)) > 0 and not stop.is_set():
                yield from self.reader.drain(self._gaps.settle(now))
                stop.wait(min(wait_s, _MAX_WAIT_S))
            if recorded.fault:
                self.reader.reject(recorded.fault, recorded.frame)
            else:
                self.reader.read(recorded.frame, recorded.ts_recv, binary=recorded.binary)
            if number % CHUNK_FRAMES == 0:
                yield from self.reader.drain(self._gaps.settle(now))
        yield from self.reader.drain(self._gaps.finish(now))
        if self._damage is not None:
            raise self._damage

    def _frames(self) -> Iterator[RecordedFrame]:
        readers = [self._read_undamaged(source) for source in self._sources]
        if self._settings.order == "time" and len(readers) > 1:
            yield from heapq.merge(*readers, key=attrgetter("ts_recv"))
        else:
            for reader in readers:
                yield from reader

    def _read_undamaged(self, source: Source) -> Iterator[RecordedFrame]:
        """Yield a file's frames up to any damage, which must not prevent reading the other files."""
        try:
            yield from read_frames(source)
        except FeedParseError as error:
            self._damage = self._damage or error

    def _remaining_wait_s(self, started: int, since_first_ns: int) -> float:
        """Return the seconds until a frame is due at the configured speed."""
        if self._settings.speed == "max":
            return 0.0
        return (since_first_ns / self._settings.speed - (self._clock.monotonic_ns() - started)) / NS_PER_S

    def close(self) -> None:
        """Do nothing: no file stays open between two reads."""
