"""Sessions to compare are found by id, by data directory, and by evidence directory."""

from __future__ import annotations

import pytest

from hybrid_platform.analysis.sources import read_compared_sessions
from hybrid_platform.domain.errors import ConfigError
from hybrid_platform_tests.recording import Recorder, make_ticks, random_walk


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    return Recorder(tmp_path_factory.mktemp("compared") / "data")


@pytest.fixture(scope="module")
def pair(recorder: Recorder) -> list[str]:
    shadow, paper = recorder.settings(mode="SHADOW"), recorder.settings(paper={"latency": "home"})
    return [recorder.record(each, make_ticks(random_walk())).session_id for each in (shadow, paper)]


def test_a_session_is_found_by_id_and_by_directory(recorder, pair):
    evidence = recorder.folder / "evidence" / pair[0]
    evidence.mkdir(parents=True)
    found = read_compared_sessions(recorder.settings(), [pair[0], str(recorder.folder), str(evidence)])
    assert [each.session.session_id for each in found][::2] == [pair[0], pair[0]]
    assert [each.label for each in found] == ["A", "B", "C"]


@pytest.mark.parametrize("name", ["nothing", "{folder}/evidence"])
def test_an_unknown_session_is_a_config_error(recorder, pair, name):
    (recorder.folder / "evidence").mkdir(exist_ok=True)
    with pytest.raises(ConfigError, match="session: expected"):
        read_compared_sessions(recorder.settings(), [pair[0], name.format(folder=recorder.folder)])
