"""The persist stage: the only writer of a running session, in batches by count and by a flush timer (I6, S12, L4).

in: `TickMessage` and `RecordMessage` · out: committed rows · when the database is locked the writer waits; in
a live session the channel then evicts and counts the oldest ticks, but never audit records. A write that fails
for good ends the session; earlier commits stay.
"""

from __future__ import annotations

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S, Clock
from hybrid_platform.domain.orders import InputRecord, Record
from hybrid_platform.domain.ticks import TickBatch, concat_batches
from hybrid_platform.evidence.row_digests import InputDigest, TickDigest
from hybrid_platform.observability.counters import PersistCounters
from hybrid_platform.session.channel import Channel, EndOfStream
from hybrid_platform.session.messages import RecordMessage, TickMessage
from hybrid_platform.session.stage import OnFailure, Stage
from hybrid_platform.storage.rows import RECORD_LAYOUTS, record_rows
from hybrid_platform.storage.writer import SessionWriter

IDLE_TIMEOUT_S = 0.25
WAKE_FRACTION = 8
"""While a batch is open, wake only when the channel is one-eighth full, so that the writer does not compete with
the decision threads for the GIL."""


class Persist(Stage):
    """Owns the writer."""

    def __init__(
        self,
        writer: SessionWriter,
        channel: Channel[TickMessage | RecordMessage],
        *,
        batch_rows: int,
        flush_interval_ms: int,
        counters: PersistCounters,
        clock: Clock,
        on_failure: OnFailure,
    ) -> None:
        super().__init__("persist", (channel,), (), on_failure)
        self._writer = writer
        self._channel = channel
        self._batch_rows = batch_rows
        self._enough = min(batch_rows, channel.capacity) // WAKE_FRACTION
        self._flush_ns = flush_interval_ms * NS_PER_MS
        self._counters = counters
        self._clock = clock
        self.ticks, self.inputs = TickDigest(), InputDigest()
        """Digests of the committed rows."""
        self._ticks: list[TickBatch] = []
        self._records: list[Record] = []
        self._rows = 0
        self._since = 0

    def work(self) -> None:
        """Write until every producer has closed and nothing is left."""
        while True:
            self.progress.mark_idle()
            try:
                messages = self._channel.receive(self._batch_rows, self._timeout_s(), self._enough if self._rows else 0)
            except EndOfStream:
                self.progress.mark_busy()
                self._flush()
                return
            self.progress.mark_busy()
            for message in messages:
                if not self._rows:
                    self._since = self._clock.monotonic_ns()
                self._rows += message.events
                if isinstance(message, TickMessage):
                    self._ticks.append(message.batch)
                else:
                    self._records.extend(message.records)
            if self._rows >= self._batch_rows or (self._rows and self._timeout_s() == 0):
                self._flush()

    def _timeout_s(self) -> float:
        """Return how long to wait for more, in seconds."""
        if not self._rows:
            return IDLE_TIMEOUT_S
        return max(0, self._since + self._flush_ns - self._clock.monotonic_ns()) / NS_PER_S

    def _flush(self) -> None:
        if not self._rows:
            return
        started = self._clock.monotonic_ns()
        ticks = [concat_batches(self._ticks)] if self._ticks else []
        committed = self._writer.write(ticks, self._records)
        for batch in ticks:
            self.ticks.add(batch)
        inputs = [record for record in self._records if type(record) is InputRecord]
        if inputs:
            self.inputs.add(record_rows(RECORD_LAYOUTS[InputRecord], inputs, 0))
        counters = self._counters
        took_ns = self._clock.monotonic_ns() - started
        counters.longest_commit_ns = max(counters.longest_commit_ns, took_ns)
        counters.commit.observe(took_ns)
        counters.rows += committed
        counters.ticks += sum(map(len, self._ticks))
        counters.commits += 1
        self._ticks, self._records, self._rows = [], [], 0
