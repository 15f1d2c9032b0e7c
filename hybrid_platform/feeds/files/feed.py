"""Replay of recorded files: `FileFeed` finds, checks, merges and paces them (S8).

in: files, settings · out: `FeedBatch` objects in order; ConfigError at open for every fault that shows by then,
FeedParseError after the last good row if a file was damaged, truncated, or without any good row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice

import pyarrow as pa

from hybrid_platform.domain.clocks import Clock, Stopper
from hybrid_platform.domain.errors import ConfigError, Fault, FeedParseError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.feeds.base import FeedBatch
from hybrid_platform.feeds.files.columns import SymbolInterner
from hybrid_platform.feeds.files.merge import merge_files
from hybrid_platform.feeds.files.reader import ReaderFactory, SourceReader
from hybrid_platform.feeds.files.sources import SourceError, find_sources
from hybrid_platform.feeds.pacing import pace_batches
from hybrid_platform.settings.feeds import ReplayFeed

_FIRST_BATCHES = 4
"""Batches that are read to find a file's first event time."""


class _ReplayedFile:
    """A file in the replay, and how it ended."""

    def __init__(self, reader: SourceReader) -> None:
        self._reader = reader
        self._accepted = 0
        self._rejected: Counter[str] = Counter()
        self._first_bad = ""
        self.failure = ""
        """Why the file is faulty, as soon as that is known."""

    def first_time(self) -> int | None:
        """Return the event time of its first tick, or None if the first batches hold none."""
        try:
            beginning = islice(self._reader.batches(), _FIRST_BATCHES)
            return next((int(batch.ticks.ts_event[0]) for batch in beginning if len(batch.ticks)), None)
        except SourceError:
            return None

    def batches(self) -> Iterator[FeedBatch]:
        """Yield its batches and set `failure` at the end."""
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


class FileFeed:
    """A `Feed` of files, merged by event time or as listed, at full speed or a factor of real time."""

    name = "replay"

    def __init__(self, settings: ReplayFeed, table: InstrumentTable, clock: Clock) -> None:
        self._settings = settings
        self._symbols = SymbolInterner(table, settings.venue)
        self._clock = clock
        self._readers: list[SourceReader] = []

    def open(self) -> None:
        """Find the files and read the beginning of each; raise one ConfigError with every fault."""
        # Arrow's own allocator keeps 20 MB of freed memory, and is not faster here.
        pa.set_memory_pool(pa.system_memory_pool())
        factory = ReaderFactory(self._settings, self._symbols)
        faults: list[Fault] = []
        for source in find_sources(self._settings.paths):
            try:
                self._readers.append(factory.create(source))
            except ConfigError as error:
                faults.extend(error.faults)
        if faults:
            raise ConfigError(list(dict.fromkeys(faults)))

    def batches(self, stop: Stopper) -> Iterator[FeedBatch]:
        """Yield batches to the end of the files, the limit, or ``stop``; then raise FeedParseError for faulty files."""
        files = [_ReplayedFile(reader) for reader in self._readers]
        sequential = self._settings.order == "listed" or len(files) == 1
        stream = chain.from_iterable(file.batches() for file in files) if sequential else merge_files(files)
        yield from pace_batches(stream, self._settings.speed, self._settings.limit, self._clock, stop)
        failures = [file.failure for file in files if file.failure]
        if failures:
            raise FeedParseError("\n".join(failures))

    def close(self) -> None:
        """Forget the files; only the iterator of batches holds them open, and closes them."""
        self._readers = []
