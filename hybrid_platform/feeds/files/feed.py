"""Replay of recorded files: `FileReplay` finds, checks, merges and paces them (S8, SPEC 9).

in: files, settings · out: `FeedBatch` in order; ConfigError at open for whatever can be known then,
FeedParseError after the last good row where a file broke off or held nothing but bad rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice

import pyarrow as pa

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.errors import ConfigError, Fault, FeedParseError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.feeds.base import FeedBatch, Stopper
from hybrid_platform.feeds.files.columns import Symbols
from hybrid_platform.feeds.files.inflate import SourceError
from hybrid_platform.feeds.files.merge import merged
from hybrid_platform.feeds.files.reader import Reader, ReaderFactory
from hybrid_platform.feeds.files.sources import find_sources
from hybrid_platform.feeds.pacing import played
from hybrid_platform.settings.feeds import ReplayFeed

_LOOKS = 4
"""So many batches are looked at to learn when a file begins."""


class _File:
    """A file that is being read: remembers how it ends."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._accepted = 0
        self._rejected: Counter[str] = Counter()
        self._first_bad = ""
        self.failure = ""
        """Why it is no good file, once that is known."""

    def first_time(self) -> int | None:
        """Return the event time of its first tick, or None where a short look does not find it."""
        try:
            beginning = islice(self._reader.batches(), _LOOKS)
            return next((int(batch.ticks.ts_event[0]) for batch in beginning if len(batch.ticks)), None)
        except SourceError:
            return None

    def batches(self) -> Iterator[FeedBatch]:
        """Yield its batches; how it ended is in `failure`."""
        label = self._reader.source.label
        try:
            for batch in self._reader.batches():
                self._accepted += len(batch.ticks)
                self._rejected.update(batch.rejected)
                if batch.samples and not self._first_bad:
                    self._first_bad = f"{batch.samples[0].cause} at {batch.samples[0].where}"
                yield batch
        except SourceError as error:
            self.failure = f"{label} {error}; {self._accepted} good rows before were kept"
        else:
            if self._rejected and not self._accepted:
                causes = ", ".join(f"{cause} {count}" for cause, count in self._rejected.most_common(5))
                self.failure = f"{label} holds no good row: expected ticks, got {causes}; first: {self._first_bad}"


class FileReplay:
    """Replays files: merged by event time or as listed, at full speed or a factor of real time."""

    name = "replay"

    def __init__(self, settings: ReplayFeed, table: InstrumentTable, clock: Clock) -> None:
        self._settings = settings
        self._symbols = Symbols(table, settings.venue)
        self._clock = clock
        self._readers: list[Reader] = []

    def open(self) -> None:
        """Find the files and look at each one's beginning; raise one ConfigError with every fault."""
        # Arrow's own allocator keeps 20 MB of what it once held, and is no faster here.
        pa.set_memory_pool(pa.system_memory_pool())
        factory = ReaderFactory(self._settings, self._symbols)
        faults: list[Fault] = []
        for source in find_sources(self._settings.paths):
            try:
                self._readers.append(factory.reader(source))
            except ConfigError as error:
                faults.extend(error.faults)
        if faults:
            raise ConfigError(list(dict.fromkeys(faults)))

    def batches(self, stop: Stopper) -> Iterator[FeedBatch]:
        """Yield batches to the end of the files, the limit, or ``stop``; then raise FeedParseError for bad files."""
        files = [_File(reader) for reader in self._readers]
        one_by_one = self._settings.order == "listed" or len(files) == 1
        stream = chain.from_iterable(file.batches() for file in files) if one_by_one else merged(files)
        yield from played(stream, self._settings.speed, self._settings.limit, self._clock, stop)
        failures = [file.failure for file in files if file.failure]
        if failures:
            raise FeedParseError("\n".join(failures))

    def close(self) -> None:
        """Nothing stays open between batches but what their iterator holds, and closes."""
        self._readers = []
