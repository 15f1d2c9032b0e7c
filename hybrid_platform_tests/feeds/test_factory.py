"""Selection of the feed by the settings."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.feeds import build_feed
from hybrid_platform.feeds.base import Feed
from hybrid_platform.feeds.files import FileFeed
from hybrid_platform.feeds.recorded_session import RecordedSessionFeed
from hybrid_platform.feeds.synthetic import RandomWalkFeed
from hybrid_platform.settings.loading import load_settings


class Silent:
    """A log that discards everything."""

    def info(self, message: str, **fields: Any) -> None: ...

    def warning(self, message: str, **fields: Any) -> None: ...

    def error(self, message: str, **fields: Any) -> None: ...


def built(feed: Mapping[str, Any] | None, stored: Callable[..., Any] | None = None) -> Feed:
    settings = load_settings({} if feed is None else {"feed": feed}, environ={})
    return build_feed(settings, InstrumentTable(), SystemClock(), Silent(), read_session=stored)


def test_settings_select_the_feed() -> None:
    assert isinstance(built(None), RandomWalkFeed)
    assert isinstance(built({"replay": {"path": "x.csv"}}), FileFeed)
    assert isinstance(built({"replay": {"session": "x"}}, stored=lambda *_: iter(())), RecordedSessionFeed)


def test_a_session_without_a_database_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"feed\.replay\.session: expected a database to read it from"):
        built({"replay": {"session": "x"}})


def test_slow_imports_are_avoided() -> None:
    """A synthetic feed starts without pyarrow, a CSV replay without pandas."""
    code = """
import sys, threading
from hybrid_platform.feeds import build_feed
assert not {"pyarrow", "pandas"} & set(sys.modules)
from hybrid_platform.settings.feeds import ReplayFeed
from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.feeds.files import FileFeed
columns = {"ts": 0, "price": 1, "symbol": 2, "side": 3, "trade_id": 4}
feed = FileFeed(ReplayFeed(path="/dev/stdin", columns=columns), InstrumentTable(), SystemClock())
try:
    feed.open()
except Exception as error:
    assert "a FIFO" in str(error), error
import tempfile
with tempfile.NamedTemporaryFile() as file:
    file.write(b"1700000000000,1.5,A,buy,7\\n"); file.flush()
    feed = FileFeed(ReplayFeed(path=file.name, columns=columns), InstrumentTable(), SystemClock())
    feed.open()
    assert sum(len(batch.ticks) for batch in feed.batches(threading.Event())) == 1
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, input=b"", timeout=120)
