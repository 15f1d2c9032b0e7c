"""Pictures for the report, as SVG that takes its colours from the page's style: escaped, no script, no font.

in: numbers and labels · out: markup that is safe to put into a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from markupsafe import Markup, escape

from hybrid_platform.security.redaction import to_printable

WIDTH, HEIGHT = 520, 190
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 28
MAX_POINTS = 400
LABEL_LIMIT = 34

Point = tuple[float, float]


def plot(
    points: Sequence[Point],
    *,
    label: str,
    kind: Literal["line", "bars"] = "line",
    limit: float | None = None,
    floor: float = 1.0,
) -> Markup:
    """Return a plot over seconds; ``limit`` is drawn as a line, ``floor`` is the least that the axis reaches to."""
    shown = _thinned(points)
    end = max([at for at, _ in shown], default=0.0) or 1.0
    high = _nice(max([value for _, value in shown] + [floor] + ([limit] if limit is not None else [])))
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
    """A box of the flow picture."""

    x: float
    y: float
    title: str
    lines: tuple[str, ...]
    bad: str = ""
    """Said below in the colour of failure, where there is something to say."""
    is_channel: bool = False


BOX_W, BOX_H = 132.0, 66.0


class Frame(NamedTuple):
    """A dashed line around some boxes, with what it stands for."""

    around: tuple[int, ...]
    title: str


def flow(
    nodes: Sequence[Node],
    ways: Sequence[tuple[int, int, str]],
    frame: Frame | None,
    *,
    label: str,
    width: float,
    height: float,
) -> Markup:
    """Return boxes joined by arrows, each with its count; ``ways`` are (from, to, count) by index."""
    parts: list[Markup] = []
    if frame is not None:
        inside = [nodes[index] for index in frame.around]
        left, top = min(node.x for node in inside) - 6, min(node.y for node in inside) - 26
        right, low = max(node.x for node in inside) + BOX_W + 6, max(node.y for node in inside) + BOX_H + 22
        parts.append(_filled(_FRAME, left, top, right - left, low - top))
        parts.append(_text((left + right) / 2, top + 16, frame.title, "small", "middle"))
    for start, end, count in ways:
        parts += _way(nodes[start], nodes[end], count)
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


def _way(start: Node, end: Node, count: str) -> list[Markup]:
    """Return the arrow from one box to another: along a row, straight down, or down and to the side."""
    if start.y == end.y:
        x1, x2, y = start.x + BOX_W, end.x, start.y + BOX_H / 2
        return [_arrow([(x1, y), (x2, y)]), _text(x1 + (x2 - x1) * 0.42, y - 7, count, "small", "middle")]
    x1, y1 = start.x + BOX_W / 2, start.y + BOX_H
    if start.x == end.x:
        return [_arrow([(x1, y1), (x1, end.y)]), _text(x1 + 8, (y1 + end.y) / 2 + 4, count, "small", "start")]
    x2, y2 = (end.x if x1 < end.x else end.x + BOX_W), end.y + BOX_H / 2
    return [_arrow([(x1, y1), (x1, y2), (x2, y2)]), _text((x1 + x2) / 2, y2 - 7, count, "small", "middle")]


def _arrow(points: Sequence[Point]) -> Markup:
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


def _thinned(points: Sequence[Point]) -> list[Point]:
    """Return at most so many points; of each stretch the highest, so that no peak is lost."""
    if len(points) <= MAX_POINTS:
        return list(points)
    step = len(points) / MAX_POINTS
    stretches = (points[int(number * step) : int((number + 1) * step)] for number in range(MAX_POINTS))
    return [max(stretch, key=lambda point: point[1]) for stretch in stretches if stretch]


def _nice(value: float) -> float:
    """Return the next of 1, 2, 5 × 10^n that is not below."""
    power = 10.0 ** len(str(int(value)))
    return next(power * part for part in (0.1, 0.2, 0.5, 1.0) if power * part >= value)


def _duration(seconds: float) -> str:
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 180:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.0f} s" if seconds >= 10 or not seconds else f"{seconds:.1f} s"
