"""Hand-drawn SVG of a report: the flow of events, and the host and the heartbeats over the session.

in: a session's figures and its timeline · out: markup that is safe to put into a page: escaped, without script and
font, in the colours of the page's style. Drawn without matplotlib, which takes longer to load than a short session.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from markupsafe import Markup, escape

from hybrid_platform.evidence.records import ChannelFigures, SessionEvidence, SessionFiles
from hybrid_platform.report.timeline import Point, Timeline
from hybrid_platform.security.redaction import to_printable

WIDTH, HEIGHT = 520, 190
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 28
MAX_POINTS = 400
LABEL_LIMIT = 34
_STEP, _TOP, _ROW = 184.0, 32.0, 128.0
"""Layout of the event flow: width of a column, top, height of a row."""
_STRATEGY, _SIGNAL, _EXECUTION = 3, 4, 5
_NO_CHANNEL = ChannelFigures("", 0, "", 0, 0, 0, 0, 0, 0)


def draw_event_flow(session: SessionEvidence) -> Markup:
    """Draw the ledger: stages as boxes, channels as rounded boxes, counts on the arrows."""
    rows = {(row.kind, row.reason): row.count for row in session.ledger.rows if row.kind == "feed"}
    tables = {row.name: row.count for row in session.ledger.rows if (row.kind, row.reason) == ("table", "counted")}
    channels = {channel.name: channel for channel in session.channels}
    tick, signal, persist = (channels.get(name, _NO_CHANNEL) for name in ("tick", "signal", "persist"))
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
    arrows = (
        (0, 1, _format_count(rows.get(("feed", "received"), 0))),
        (1, 2, _format_count(tick.sent)),
        (2, 3, _format_count(tick.received)),
        (3, 4, _format_count(signal.sent)),
        (4, 5, _format_count(signal.received)),
        (1, 6, f"{_format_count(accepted)} ticks"),
        (5, 6, f"{_format_count(decisions)} records"),
        (6, 7, _format_count(persist.received)),
    )
    isolation = session.isolation
    frame = Frame((_STRATEGY, _SIGNAL, _EXECUTION), f"sandboxed process: {isolation.enforced.value}")
    summary = f"{accepted} ticks accepted, {stored} stored, {session.orders} orders"
    return flow(
        nodes,
        arrows,
        frame if isolation.requested == "process" else None,
        label=summary,
        width=5 * _STEP + 148,
        height=_TOP + 2 * _ROW + BOX_H + 24,
    )


def _format_count(count: int) -> str:
    """Format a count for an arrow: exact up to six digits; the table below has all digits."""
    return f"{count:,}" if count < 1_000_000 else f"{count / 1_000_000:,.2f} M"


def _channel(x: float, y: float, figures: ChannelFigures) -> Node:
    left = f", {figures.depth:,} left" if figures.depth else ""
    bad = f"{figures.dropped:,} dropped{left}" if figures.dropped or figures.depth else ""
    return Node(
        x, y, f"{figures.name} channel", (figures.policy, f"{figures.capacity:,} at most"), bad, is_channel=True
    )


def draw_host_plots(timeline: Timeline, files: SessionFiles) -> Sequence[tuple[str, Markup]]:
    """Return a titled plot for each measured series."""
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
        title = "Throttle ladder (S15): one tick in … passed"
        plots.append((title, plot(timeline.sampling, label=title, floor=10)))
    return plots


def plot(
    points: Sequence[Point],
    *,
    label: str,
    kind: Literal["line", "bars"] = "line",
    limit: float | None = None,
    floor: float = 1.0,
) -> Markup:
    """Return a plot over seconds; ``limit`` is drawn as a line, and the axis reaches at least to ``floor``."""
    shown = _thin_out(points)
    end = max([at for at, _ in shown], default=0.0) or 1.0
    high = _round_up(max([value for _, value in shown] + [floor] + ([limit] if limit is not None else [])))
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(at: float) -> float:
        return LEFT + across * at / end

    def y(value: float) -> float:
        return TOP + up * (1 - max(value, 0.0) / high)

    parts = []
    for part in (0.0, 0.5, 1.0):
        parts.append(_line("axis", LEFT, y(high * part), WIDTH - RIGHT, y(high * part)))
        parts.append(_text(LEFT - 8, y(high * part) + 4, f"{high * part:g}", "small", "end"))
    for part in (0.0, 0.5, 1.0):
        parts.append(
            _text(
                x(end * part), HEIGHT - 8, _duration(end * part), "small", ("start", "middle", "end")[round(part * 2)]
            )
        )
    if limit is not None:
        parts.append(_line("limit", LEFT, y(limit), WIDTH - RIGHT, y(limit)))
    if kind == "bars":
        width = max(1.0, min(14.0, across / max(len(shown), 1) * 0.6))
        for at, value in shown:
            left = min(max(x(at) - width / 2, LEFT), WIDTH - RIGHT - width)
            tall = max(y(0) - y(value), 1.5)
            parts.append(_filled(_BAR, left, y(0) - tall, width, tall))
    else:
        path = " ".join(
            f"{'L' if number else 'M'}{x(at):.1f} {y(value):.1f}" for number, (at, value) in enumerate(shown)
        )
        parts.append(Markup('<path class="curve" d="{}"/>').format(path) if len(shown) > 1 else Markup())
        if len(shown) <= 60:
            parts += [_filled(_DOT, x(at), y(value)) for at, value in shown]
    return _svg(WIDTH, HEIGHT, label, parts)


_BAR = Markup('<rect class="bar" x="{}" y="{}" width="{}" height="{}"/>')
_FRAME = Markup('<rect class="frame" x="{}" y="{}" width="{}" height="{}" rx="10"/>')
_DOT = Markup('<circle class="dot" cx="{}" cy="{}" r="2.6"/>')


class Node(NamedTuple):
    """A box of the event flow."""

    x: float
    y: float
    title: str
    lines: tuple[str, ...]
    bad: str = ""
    """Text below the box in the colour of failure."""
    is_channel: bool = False


BOX_W, BOX_H = 132.0, 66.0


class Frame(NamedTuple):
    """A dashed line around some boxes, with a title."""

    around: tuple[int, ...]
    title: str


def flow(
    nodes: Sequence[Node],
    arrows: Sequence[tuple[int, int, str]],
    frame: Frame | None,
    *,
    label: str,
    width: float,
    height: float,
) -> Markup:
    """Draw boxes joined by arrows; ``arrows`` are (from, to, count), the boxes by index."""
    parts: list[Markup] = []
    if frame is not None:
        inside = [nodes[index] for index in frame.around]
        left, top = min(node.x for node in inside) - 6, min(node.y for node in inside) - 26
        right, low = max(node.x for node in inside) + BOX_W + 6, max(node.y for node in inside) + BOX_H + 22
        parts.append(_filled(_FRAME, left, top, right - left, low - top))
        parts.append(_text((left + right) / 2, top + 16, frame.title, "small", "middle"))
    for start, end, count in arrows:
        parts += _connect(nodes[start], nodes[end], count)
    for node in nodes:
        kind, radius = ("channel", 20) if node.is_channel else ("box", 7)
        shape = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="{}"/>')
        parts.append(shape.format(kind, node.x, node.y, BOX_W, BOX_H, radius))
        middle = node.x + BOX_W / 2
        parts.append(_text(middle, node.y + 21, node.title, "strong", "middle"))
        for number, line in enumerate(node.lines[:2]):
            parts.append(_text(middle, node.y + 39 + 15 * number, line, "small", "middle"))
        if node.bad:
            parts.append(_text(middle, node.y + BOX_H + 15, node.bad, "small bad", "middle"))
    return _svg(width, height, label, parts)


def _connect(start: Node, end: Node, count: str) -> list[Markup]:
    """Draw the arrow from one box to another: along a row, straight down, or down and to the side."""
    if start.y == end.y:
        x1, x2, y = start.x + BOX_W, end.x, start.y + BOX_H / 2
        return [_arrow_path([(x1, y), (x2, y)]), _text(x1 + (x2 - x1) * 0.42, y - 7, count, "small", "middle")]
    x1, y1 = start.x + BOX_W / 2, start.y + BOX_H
    if start.x == end.x:
        return [_arrow_path([(x1, y1), (x1, end.y)]), _text(x1 + 8, (y1 + end.y) / 2 + 4, count, "small", "start")]
    x2, y2 = (end.x if x1 < end.x else end.x + BOX_W), end.y + BOX_H / 2
    return [_arrow_path([(x1, y1), (x1, y2), (x2, y2)]), _text((x1 + x2) / 2, y2 - 7, count, "small", "middle")]


def _arrow_path(points: Sequence[Point]) -> Markup:
    (x1, y1), (x2, y2) = points[-2:]
    length = max(abs(x2 - x1), abs(y2 - y1))
    dx, dy = (x2 - x1) / length * 7, (y2 - y1) / length * 7
    path = " ".join(f"{'L' if number else 'M'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(points))
    corners = ((x2 - dx - dy * 0.6, y2 - dy - dx * 0.6), (x2, y2), (x2 - dx + dy * 0.6, y2 - dy + dx * 0.6))
    tip = " ".join(f"{'L' if number else 'M'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(corners))
    return Markup('<path class="way" d="{}"/><path class="tip" d="{} Z"/>').format(path, tip)


def _svg(width: float, height: float, label: str, parts: Sequence[Markup]) -> Markup:
    head = Markup('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" role="img" aria-label="{}">')
    return head.format(f"{width:g}", f"{height:g}", label) + Markup("").join(parts) + Markup("</svg>")


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        kind, *(f"{number:.1f}" for number in (x1, y1, x2, y2))
    )


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> Markup:
    shape = Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>')
    return shape.format(kind, f"{x:.1f}", f"{y:.1f}", anchor, escape(to_printable(text, LABEL_LIMIT)))


def _filled(shape: Markup, *numbers: float) -> Markup:
    return shape.format(*(f"{number:.1f}" for number in numbers))


def _thin_out(points: Sequence[Point]) -> list[Point]:
    """Return at most `MAX_POINTS` points: the highest of each stretch, so that every peak is kept."""
    if len(points) <= MAX_POINTS:
        return list(points)
    step = len(points) / MAX_POINTS
    stretches = (points[int(number * step) : int((number + 1) * step)] for number in range(MAX_POINTS))
    return [max(stretch, key=lambda point: point[1]) for stretch in stretches if stretch]


def _round_up(value: float) -> float:
    """Return the smallest of 1, 2, 5 × 10^n that is at least ``value``."""
    power = 10.0 ** len(str(int(value)))
    return next(power * part for part in (0.1, 0.2, 0.5, 1.0) if power * part >= value)


def _duration(seconds: float) -> str:
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 180:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.0f} s" if seconds >= 10 or not seconds else f"{seconds:.1f} s"
