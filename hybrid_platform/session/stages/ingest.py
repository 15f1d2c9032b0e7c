"""The ingest stage: turns feed batches into numbered ticks, for strategy and for persist (S5, S6, S15, L3).

in: `FeedBatch` from the feed · out: `TickMessage`, to the tick channel first, because fresh data matters more,
then to the persist channel · when full: the policy of each channel, which counts its drops.
"""

from __future__ import annotations

import threading
from typing import Any

from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.feeds.base import Feed, FeedBatch
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.observability.counters import FeedCounters
from hybrid_platform.session.channel import Channel, ChannelAborted
from hybrid_platform.session.messages import ControlMessage, RecordMessage, TickMessage
from hybrid_platform.session.overload.sampling import Sampler
from hybrid_platform.session.stage import OnFailure, Stage
from hybrid_platform.session.stages.deduplicate import Deduplicator

SAMPLES_PER_CAUSE = 1
"""Samples logged for each kind of bad row; all are counted."""
DROPPED = "events dropped (S6)"


class Ingest(Stage):
    """Owns the feed, the numbering and the feed's ledger."""

    def __init__(
        self,
        feed: Feed,
        ticks: Channel[TickMessage | ControlMessage],
        persist: Channel[TickMessage | RecordMessage],
        *,
        sampler: Sampler,
        counters: FeedCounters,
        stop: threading.Event,
        clock: Clock,
        log: SessionLog,
        on_failure: OnFailure,
    ) -> None:
        super().__init__("ingest", (), (ticks, persist), on_failure)
        self._feed = feed
        self._ticks = ticks
        self._persist = persist
        self._sampler = sampler
        self._counters = counters
        self._stop = stop
        self._clock = clock
        self._log = log
        self._deduplicator = Deduplicator()
        self._sampled: dict[str, int] = {}

    def work(self) -> None:
        """Read the feed until it ends or a stop is requested; close it in both cases."""
        try:
            for batch in self._feed.batches(self._stop):
                self.progress.mark_busy()
                self._account(batch)
                if batch.gaps:
                    self._persist.send(RecordMessage(batch.gaps), guaranteed=True)
                if len(batch.ticks):
                    self._send(batch.ticks)
                self.progress.mark_idle()
        finally:
            self._feed.close()

    def _account(self, batch: FeedBatch) -> None:
        counters = self._counters
        counters.received += batch.received
        counters.history += batch.history
        for cause, count in batch.rejected.items():
            counters.rejected += count
            counters.causes[cause] += count
        for kind, count in batch.ignored.items():
            counters.ignored[kind] += count
        for gap in batch.gaps:
            counters.gaps += 1
            self._log.limited(
                "warning",
                "gap in the venue's trades (S3)",
                venue=gap.venue,
                symbol=gap.symbol,
                from_id=gap.from_id,
                to_id=gap.to_id,
                missing=gap.missing,
                cause=gap.cause,
            )
        for sample in batch.samples:
            logged = self._sampled.get(sample.cause, 0)
            if logged < SAMPLES_PER_CAUSE:
                self._sampled[sample.cause] = logged + 1
                self._log.warning(
                    "row rejected (S5)",
                    cause=sample.cause,
                    where=sample.where,
                    sample=sample.sample,
                    feed=self._feed.name,
                )

    def _send(self, ticks: TickBatch) -> None:
        counters = self._counters
        now = self._clock.wall_ns()
        if int(ticks.ts_recv[0]) == 0:
            ticks = ticks.with_ts_recv(now)
        new = self._deduplicator.new_only(ticks)
        counters.duplicate += len(ticks) - len(new)
        if not len(new):
            return
        lag_ns = int(new.ts_recv[-1]) - int(new.ts_event[-1])
        counters.lag_ns.append(lag_ns)
        counters.lag.observe(lag_ns)
        # After the duplicates, so that the id of a tick that is sampled out is recognised when it comes again.
        came = len(new)
        new = self._sampler.pick(new)
        counters.sampled_out += came - len(new)
        if not len(new):
            return
        new = new.with_seq_from(counters.accepted + 1)
        counters.accepted += len(new)
        counters.first_event = int(new.ts_event[0]) if counters.first_event is None else counters.first_event
        counters.last_event = int(new.ts_event[-1])
        message = TickMessage(new)
        try:
            self._log_drops(self._ticks, self._ticks.send(message))
        except ChannelAborted:
            # The strategy has failed and the session ends; ticks that were received are still persisted.
            self._stop.set()
        finally:
            # Even if the tick channel refused them, received ticks are persisted or counted as dropped.
            self._log_drops(self._persist, self._persist.send(message))

    def _log_drops(self, channel: Channel[Any], dropped: int) -> None:
        if dropped:
            so_far = channel.stats().dropped
            self._log.limited("warning", DROPPED, channel=channel.name, count=dropped, dropped_so_far=so_far)
