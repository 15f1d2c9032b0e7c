"""Figures of a session."""

from __future__ import annotations

import pytest

from hybrid_platform.report.measures.session import measure_session
from hybrid_platform.report.plots import draw_session
from hybrid_platform_tests.recording import Recorder, make_ticks, random_walk


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    return Recorder(tmp_path_factory.mktemp("compared") / "data")


def test_figures_of_a_session_are_deterministic(recorder):
    recorded = recorder.record(recorder.settings(paper={"latency": "home"}), make_ticks(random_walk()))
    measured = measure_session(recorder.reading, recorded.session_id)
    first = draw_session(measured)
    assert first == draw_session(measured)
    assert set(first) == {"equity", "drawdown", "price", "exposure", "latency"}
    for picture in first.values():
        assert picture.startswith(b"<?xml")
        assert len(picture) < 120_000
