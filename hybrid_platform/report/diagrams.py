"""The report's own pictures: where every event went, and how host and heartbeats were over the session."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from hybrid_platform.evidence.records import ChannelFigures, SessionEvidence, SessionFiles
from hybrid_platform.report.svg import BOX_H, Frame, Node, flow, plot
from hybrid_platform.report.timeline import Timeline

_STEP = 184.0
_TOP, _ROW = 32.0, 128.0
_STRATEGY, _SIGNAL, _EXECUTION = 3, 4, 5
_NOWHERE = ChannelFigures("", 0, "", 0, 0, 0, 0, 0, 0)


def flow_of(session: SessionEvidence) -> Markup:
    """Return the ledger as a picture: stages as boxes, channels as pills, counts on the arrows."""
    rows = {(row.kind, row.reason): row.count for row in session.ledger.rows if row.kind == "feed"}
    tables = {row.name: row.count for row in session.ledger.rows if (row.kind, row.reason) == ("table", "counted")}
    channels = {channel.name: channel for channel in session.channels}
    tick, signal, persist = (channels.get(name, _NOWHERE) for name in ("tick", "signal", "persist"))
    counters = session.counters
    accepted = rows.get(("feed", "accepted"), 0)
    lost = [(reason, rows.get(("feed", reason), 0)) for reason in ("rejected", "duplicate", "sampled_out", "history")]
    stored = accepted - persist.dropped
    nodes = (
        Node(0, _TOP, "feed", (next(iter(session.feed)), f"{rows.get(('feed', 'received'), 0):,} received")),
        Node(_STEP, _TOP, "ingest", (f"{accepted:,} accepted",), ", ".join(f"{n:,} {name}" for name, n in lost if n)),
        _channel(2 * _STEP, _TOP, tick),
        Node(3 * _STEP, _TOP, "strategy", (str(session.strategy["name"]), f"{session.signals.count:,} signals")),
        _channel(4 * _STEP, _TOP, signal),
        Node(
            5 * _STEP,
            _TOP,
            "execution",
            (f"{session.orders:,} orders", f"{counters['risk_vetoes']:,} vetoes"),
        ),
        _channel(2.5 * _STEP, _TOP + _ROW, persist),
        Node(
            2.5 * _STEP,
            _TOP + 2 * _ROW,
            "database",
            (f"{sum(tables.values()):,} rows counted", f"{tables.get('ticks', 0):,} of them ticks"),
        ),
    )
    decisions = persist.sent - accepted
    ways = (
        (0, 1, _short(rows.get(("feed", "received"), 0))),
        (1, 2, _short(tick.sent)),
        (2, 3, _short(tick.received)),
        (3, 4, _short(signal.sent)),
        (4, 5, _short(signal.received)),
        (1, 6, f"{_short(accepted)} ticks"),
        (5, 6, f"{_short(decisions)} records"),
        (6, 7, _short(persist.received)),
    )
    isolation = session.isolation
    frame = Frame((_STRATEGY, _SIGNAL, _EXECUTION), f"guarded process: {isolation.enforced.value}")
    told = f"{accepted} ticks accepted, {stored} stored, {session.orders} orders"
    return flow(
        nodes,
        ways,
        frame if isolation.requested == "process" else None,
        label=told,
        width=5 * _STEP + 148,
        height=_TOP + 2 * _ROW + BOX_H + 24,
    )


def _short(count: int) -> str:
    """Return a count for an arrow: exact up to six digits; the table below has them all."""
    return f"{count:,}" if count < 1_000_000 else f"{count / 1_000_000:,.2f} M"


def _channel(x: float, y: float, figures: ChannelFigures) -> Node:
    left = f", {figures.left:,} left" if figures.left else ""
    bad = f"{figures.dropped:,} dropped{left}" if figures.dropped or figures.left else ""
    return Node(
        x, y, f"{figures.name} channel", (figures.policy, f"{figures.capacity:,} at most"), bad, is_channel=True
    )


def host_plots(timeline: Timeline, files: SessionFiles) -> Sequence[tuple[str, Markup]]:
    """Return titled plots; only of what was measured."""
    plots = []
    limit = files.preflight.pressure.limit if files.preflight else None
    if len(timeline.pressure) > 1:
        shown = limit if limit is not None and limit < 100 else None
        title = f"CPU pressure, percent (some avg10), limit {limit:g}" if shown is not None else "CPU pressure, percent"
        plots.append((title, plot(timeline.pressure, label=title, limit=shown, floor=10)))
    if len(timeline.lateness) > 1:
        heartbeat = files.preflight.settings["heartbeat"] if files.preflight else {}
        late_ms = float(heartbeat.get("late_seconds", 2.0)) * 1000
        title = f"Heartbeats (G4): how late, milliseconds; late beyond {late_ms:g}"
        shown = late_ms if max(late for _, late in timeline.lateness) > late_ms / 4 else None
        plots.append((title, plot(timeline.lateness, label=title, kind="bars", limit=shown, floor=10)))
    if len(timeline.ticks) > 1:
        title = "Ticks a second, between heartbeats"
        plots.append((title, plot(timeline.ticks, label=title)))
    if timeline.sampling:
        title = "Sampling ladder (S15): one tick in … was let through"
        plots.append((title, plot(timeline.sampling, label=title, floor=10)))
    return plots
