"""The settings and the example in docs/live-data.md are valid and run."""

from __future__ import annotations

import re
from typing import get_args

import pytest
import yaml

import hybrid_platform.testing
from hybrid_platform.settings.loading import load_settings, read_yaml
from hybrid_platform.settings.websocket import VenueName
from hybrid_platform.testing import VenueAction
from hybrid_platform_tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "live-data.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_the_settings_of_the_page_are_valid(text):
    load_settings(yaml.safe_load(text), environ={})


def test_the_example_of_the_page_runs():
    [text] = blocks("python")
    exec(compile(text, "docs/live-data.md", "exec"), {})


def test_the_page_lists_every_venue_and_action():
    for name in get_args(VenueName):
        assert f"| `{name}` |" in PAGE
    for name in hybrid_platform.testing.__all__:
        thing = getattr(hybrid_platform.testing, name)
        if isinstance(thing, type) and issubclass(thing, VenueAction) and thing is not VenueAction:
            assert f"`{name}(" in PAGE, name


def test_the_ready_made_live_session_is_valid():
    settings = load_settings(read_yaml(REPOSITORY / "run_configs" / "live_binance.yaml"), environ={})
    assert settings.mode == "SHADOW"
    assert settings.is_live_feed
    [source] = settings.feed.websocket.sources
    assert source.url is None, "the venue's own address"
