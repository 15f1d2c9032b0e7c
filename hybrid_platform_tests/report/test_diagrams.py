"""Hand-drawn plots and the event flow."""

from __future__ import annotations

import pytest

from hybrid_platform.report.diagrams import Frame, Node, flow, plot


@pytest.mark.parametrize("count", [0, 1, 2, 50, 5_000])
def test_a_plot_keeps_its_highest_point(count):
    points = [(float(at), 99.0 if at == count // 2 else 1.0) for at in range(count)]
    picture = str(plot(points, label="a <plot>", limit=20))
    assert 'aria-label="a &lt;plot&gt;"' in picture
    assert len(picture) < 40_000
    assert ("nan" in picture, "inf" in picture) == (False, False)
    assert (">100<" in picture) == bool(count)


def test_labels_of_the_event_flow_are_escaped():
    node = Node(0, 0, "<script>", ("a & b",), "bad\u202e")
    picture = str(
        flow([node, node._replace(x=200.0)], [(0, 1, "<1>")], Frame((0, 1), "<f>"), label="x", width=9, height=9)
    )
    assert "<script>" not in picture
    assert "&lt;script&gt;" in picture
    assert "\u202e" not in picture
