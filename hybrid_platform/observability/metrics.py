"""Metrics of a running session for Prometheus, one row per metric, read at each scrape (G2, G4, I1, S6).

In: the counters that the session keeps anyway. Out: metric families. docs/operations.md shows the same rows; a test
compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import inf
from pathlib import Path
from typing import Literal, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S
from hybrid_platform.domain.commands import TradingState
from hybrid_platform.domain.orders import VetoReason
from hybrid_platform.domain.records import CpuPressure, PressureAverages
from hybrid_platform.domain.statistics import Histogram
from hybrid_platform.observability.session_view import ChannelStats, PipelineState, SessionView
from hybrid_platform.security.redaction import to_printable

PREFIX = "hybrid_platform_"
MAX_VALUES = 50
"""Maximum number of external values of one label (causes, kinds of messages); further ones share `OTHER`."""
MAX_LENGTH = 60
OTHER = "(other)"
US_PER_S = 1_000_000
_NO_VETOES = dict.fromkeys(map(str, VetoReason), 0)
"""Counters that start at 0, so that their first increase is visible."""

LabelledValue = tuple[tuple[str, ...], float]


class Subject(NamedTuple):
    """Everything that one scrape reads."""

    session: SessionView
    labels: Mapping[str, str]
    """Labels of the info metric."""
    started_ns: int
    database: Path | None
    """The SQLite file, if it is known."""
    channels: tuple[ChannelStats, ...]
    pressure: CpuPressure


class Family(NamedTuple):
    """One metric: name without `PREFIX`, kind, help text, labels, and how it is read."""

    name: str
    kind: Literal["counter", "gauge", "info"]
    help: str
    labels: tuple[str, ...]
    read: Callable[[Subject], Iterable[LabelledValue]]


class Buckets(NamedTuple):
    """One histogram."""

    name: str
    help: str
    read: Callable[[Subject], Histogram]
    kind: Literal["histogram"] = "histogram"
    labels: tuple[str, ...] = ()


def _one(read: Callable[[Subject], float]) -> Callable[[Subject], Iterable[LabelledValue]]:
    return lambda subject: [((), read(subject))]


def _counted(read: Callable[[Subject], Mapping[str, int]]) -> Callable[[Subject], Iterable[LabelledValue]]:
    """Read counts by external names, bounded in number and length."""

    def values(subject: Subject) -> Iterable[LabelledValue]:
        found: dict[str, int] = {}
        for name, count in list(read(subject).items()):
            shown = to_printable(name, MAX_LENGTH)
            if shown not in found and len(found) >= MAX_VALUES:
                shown = OTHER
            found[shown] = found.get(shown, 0) + count
        return [((name,), count) for name, count in found.items()]

    return values


def _of_channels(read: Callable[[ChannelStats], float]) -> Callable[[Subject], Iterable[LabelledValue]]:
    return lambda subject: [((stats.name,), read(stats)) for stats in subject.channels]


def _dropped(subject: Subject) -> Iterable[LabelledValue]:
    return [((stats.name, stats.policy.value), stats.dropped) for stats in subject.channels]


def _denied(subject: Subject) -> Iterable[LabelledValue]:
    found: dict[tuple[str, ...], float] = {}
    for each in subject.session.denied():
        key = (each.kind.value, each.source)
        found[key] = found.get(key, 0) + each.count
    return found.items()


def _averages(subject: Subject) -> Iterator[tuple[tuple[str, str], PressureAverages]]:
    pressure = subject.pressure
    for name, resource in (("cpu", pressure.cpu), ("memory", pressure.memory), ("io", pressure.io)):
        if resource is not None:
            yield (name, "some"), resource.some
            if resource.full is not None:
                yield (name, "full"), resource.full


def _size(ending: str) -> Callable[[Subject], Iterable[LabelledValue]]:
    def read_bytes(subject: Subject) -> Iterable[LabelledValue]:
        if subject.database is None:
            return []
        try:
            return [((), Path(f"{subject.database}{ending}").stat().st_size)]
        except OSError:
            return []

    return read_bytes


FAMILIES: tuple[Family | Buckets, ...] = (
    Family("session", "info", "The running session.", (), lambda subject: []),
    Family("session_start_time_seconds", "gauge", "When the session started, Unix time.", (),
           _one(lambda s: s.started_ns / NS_PER_S)),
    Family("session_state", "gauge", "1 for the state of the session, else 0.", ("state",),
           lambda s: [((state.value,), state is s.session.state) for state in PipelineState]),
    Family("trading_state", "gauge", "1 for the trading state, as the engine journalled it, else 0.", ("state",),
           lambda s: [((state.value,), state is s.session.counters.decisions.trading_state) for state in TradingState]),
    Family("trading_halts", "counter", "Commands that halted or reduced trading, by persons or limits.", (),
           _one(lambda s: s.session.counters.decisions.halts)),
    Family("feed_received", "counter", "Rows or trades that the feed read.", (),
           _one(lambda s: s.session.counters.feed.received)),
    Family("ticks", "counter", "Ticks that were accepted and numbered.", (),
           _one(lambda s: s.session.counters.feed.accepted)),
    Family("feed_rejected", "counter", "Rows that were rejected, by cause (S5).", ("cause",),
           _counted(lambda s: s.session.counters.feed.causes)),
    Family("feed_duplicates", "counter", "Trades that were received again (I3).", (),
           _one(lambda s: s.session.counters.feed.duplicate)),
    Family("feed_sampled_out", "counter", "Ticks sampled out by the throttle ladder (S15).", (),
           _one(lambda s: s.session.counters.feed.sampled_out)),
    Family("feed_sample_every", "gauge", "Every n-th tick passes: the level of the throttle ladder (S15).", (),
           _one(lambda s: s.session.sample_every)),
    Family("feed_history", "counter", "Trades of history snapshots, which are skipped.", (),
           _one(lambda s: s.session.counters.feed.history)),
    Family("feed_ignored", "counter", "Messages without a trade of a subscribed symbol, by kind.", ("kind",),
           _counted(lambda s: s.session.counters.feed.ignored)),
    Family("feed_gaps", "counter", "Gaps in the venue's trades (S3).", (),
           _one(lambda s: s.session.counters.feed.gaps)),
    Family("signals", "counter", "Signals of the strategy.", (), _one(lambda s: s.session.counters.decisions.signals)),
    Family("orders", "counter", "Orders that passed the risk checks.", (),
           _one(lambda s: s.session.counters.decisions.orders)),
    Family("trades", "counter", "Fills.", (), _one(lambda s: s.session.counters.decisions.trades)),
    Family("vetoes", "counter", "Signals that a risk check refused, by reason.", ("reason",),
           _counted(lambda s: {**_NO_VETOES, **s.session.counters.decisions.veto_reasons})),
    Family("channel_sent", "counter", "Events offered to a channel.", ("channel",), _of_channels(lambda c: c.sent)),
    Family("channel_received", "counter", "Events taken from a channel.", ("channel",),
           _of_channels(lambda c: c.received)),
    Family("channel_dropped", "counter", "Events dropped by a channel, by its policy when full (S6).",
           ("channel", "policy"), _dropped),
    Family("channel_blocked", "counter", "Number of times that a producer waited for room.", ("channel",),
           _of_channels(lambda c: c.blocked)),
    Family("channel_depth_events", "gauge", "Events waiting in a channel.", ("channel",),
           _of_channels(lambda c: c.depth)),
    Family("channel_high_water_events", "gauge", "Largest number of waiting events so far.", ("channel",),
           _of_channels(lambda c: c.max_depth)),
    Family("channel_capacity_events", "gauge", "Largest number of events that may wait.", ("channel",),
           _of_channels(lambda c: c.capacity)),
    Buckets("feed_lag_seconds", "Receive time minus event time of each batch's last tick; negative if clocks disagree.",
            lambda s: s.session.counters.feed.lag),
    Buckets("decision_latency_seconds", "Receipt of a tick to its signal on the persist channel; live feeds only.",
            lambda s: s.session.counters.decisions.decision),
    Buckets("commit_duration_seconds", "Time to write and commit a batch.",
            lambda s: s.session.counters.persist.commit),
    Family("persist_rows", "counter", "Rows committed.", (), _one(lambda s: s.session.counters.persist.rows)),
    Family("persist_errors", "counter", "Writes that failed.", (), _one(lambda s: s.session.persist_errors)),
    Family("persist_lock_timeouts", "counter", "Number of busy timeouts on a locked database (S12).", (),
           _one(lambda s: s.session.lock_timeouts)),
    Family("database_bytes", "gauge", "Size of the SQLite file.", (), _size("")),
    Family("database_wal_bytes", "gauge", "Size of the write-ahead log.", (), _size("-wal")),
    Family("heartbeats", "counter", "Heartbeats (G4).", (), _one(lambda s: s.session.heartbeats.count)),
    Family("heartbeats_late", "counter", "Late heartbeats.", (), _one(lambda s: s.session.heartbeats.late)),
    Family("heartbeats_skipped", "counter", "Missing heartbeats.", (),
           _one(lambda s: s.session.heartbeats.skipped)),
    Family("heartbeat_longest_late_seconds", "gauge", "Largest delay of a heartbeat.", (),
           _one(lambda s: s.session.heartbeats.longest_late_ms * NS_PER_MS / NS_PER_S)),
    Family("isolation_denied", "counter", "Denied attempts to reach the network (I1); must stay 0.",
           ("kind", "source"), _denied),
    Family("pressure_ratio", "gauge", "Share of the last 10 s in which tasks stalled for a resource (PSI).",
           ("resource", "tasks"), lambda s: [(labels, each.avg10 / 100) for labels, each in _averages(s)]),
    Family("pressure_stalled_seconds", "counter", "Time since boot in which tasks stalled for a resource (PSI).",
           ("resource", "tasks"), lambda s: [(labels, each.total / US_PER_S) for labels, each in _averages(s)]),
    Family("load_ratio", "gauge", "Load average of the last minute divided by the number of cores.", (),
           _one(lambda s: s.pressure.load_percent / 100)),
)  # fmt: skip


class SessionCollector(Collector):
    """Collector that reads a session at each scrape, from any thread."""

    def __init__(
        self,
        session: SessionView,
        labels: Mapping[str, str],
        *,
        started_ns: int,
        database: Path | None,
        read_pressure: Callable[[], CpuPressure],
    ) -> None:
        self._session = session
        self._labels = dict(labels)
        self._started_ns = started_ns
        self._database = database
        self._read_pressure = read_pressure

    def collect(self) -> Iterator[Metric]:
        """Yield every family of `FAMILIES` with its current values."""
        subject = Subject(
            self._session,
            self._labels,
            self._started_ns,
            self._database,
            self._session.channel_stats(),
            self._read_pressure(),
        )
        for family in FAMILIES:
            yield _metric(family, subject)


def _metric(family: Family | Buckets, subject: Subject) -> Metric:
    name = PREFIX + family.name
    if isinstance(family, Buckets):
        histogram = family.read(subject)
        buckets = [("+Inf" if bound == inf else repr(bound), count) for bound, count in histogram.cumulative()]
        return HistogramMetricFamily(name, family.help, buckets=buckets, sum_value=histogram.sum_s)
    if family.kind == "info":
        return InfoMetricFamily(name, family.help, value=dict(subject.labels))
    metric = (CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily)(
        name, family.help, labels=family.labels
    )
    for labels, value in family.read(subject):
        metric.add_metric(labels, value)
    return metric
