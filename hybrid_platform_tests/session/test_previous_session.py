"""The gap between two sessions: measured in time, counted in the venue's trades, recorded and logged (S3)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from hybrid_platform.feeds.base import BETWEEN_SESSIONS
from hybrid_platform.feeds.websocket.gaps import GapNumbers, GapTracker
from hybrid_platform.feeds.websocket.venue import Trade
from hybrid_platform.report.attachments import ReportAssets
from hybrid_platform.report.markdown import render_report
from hybrid_platform.report.model import build_report
from hybrid_platform.report.writer import read_session_files
from hybrid_platform.security.paths import DataDir
from hybrid_platform.testing import Drop, LocalVenue, Send, Skip, Stall
from hybrid_platform.testing.frames import binance_trades
from hybrid_platform_tests.support import (
    InProcessRun,
    make_csv_rows,
    replay_feed,
    run_in_process,
    synthetic_feed,
    write_csv,
)

pytestmark = pytest.mark.scenario("S3")

SHORT = {"seconds": 0.6, "isolation": "thread"}
LOST = 13


def run(tmp_path: Path, *layers: dict[str, Any]) -> InProcessRun:
    return run_in_process(tmp_path / "data", SHORT, *layers, with_report=False)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[InProcessRun, InProcessRun]]:
    """Two sessions on a venue that had thirteen trades while none ran."""
    folder = tmp_path_factory.mktemp("two")
    script = [[Send(50), Stall(60), Drop()], [Skip(LOST), Send(50), Stall(60)]]
    with LocalVenue(islice(binance_trades(["BTCUSDT"]), 500), script) as venue:
        source = {"venue": "binance", "symbols": ["BTCUSDT"], "url": venue.url}
        feed = {"feed": {"websocket": {"sources": [source]}}}
        yield run(folder, feed), run(folder, feed)


def test_the_first_session_has_no_previous_one(two: tuple[InProcessRun, InProcessRun]):
    first, _ = two
    session_id = first.steps["session"].session_id
    assert first.steps["session"].since_last is None
    assert first.rows("SELECT * FROM gaps WHERE session_id = ?", session_id) == []


def test_trades_that_neither_session_saw_are_a_gap(two: tuple[InProcessRun, InProcessRun]):
    first, second = two
    (gap,) = second.rows("SELECT * FROM gaps WHERE session_id = ?", second.session_id)
    ids = [row["trade_id"] for row in first.rows("SELECT trade_id FROM ticks ORDER BY ts_recv, seq")]
    assert (gap["cause"], gap["missing"], gap["symbol"]) == (BETWEEN_SESSIONS, LOST, "BTCUSDT")
    assert (int(gap["from_id"]), int(gap["to_id"])) == (int(ids[49]), int(ids[50]))
    since = second.steps["session"].since_last
    assert since.session_id == first.steps["session"].session_id
    assert (since.state, since.exit_reason) == ("COMPLETE", "TIME_LIMIT")
    (instrument,) = since.instruments
    assert (instrument.last_id, instrument.first_id, instrument.missing) == (str(ids[49]), str(ids[50]), LOST)
    assert 0 < since.seconds < instrument.seconds
    assert second.evidence("session")["since_last"]["instruments"][0]["missing"] == LOST
    (line,) = second.logged("gap since the last session (S3)")
    assert line["missing"] == {f"{instrument.venue} BTCUSDT": LOST}
    files = read_session_files(DataDir(second.data_dir), second.session_id)
    report = render_report(build_report(files, ReportAssets()))
    assert f"{since.session_id}, COMPLETE, ended" in report and f"trades missing: {LOST}" in report
    assert second.evidence("session")["ledger"]["balances"], "the row is counted like every other"


def test_a_session_without_ticks_does_not_end_a_gap(tmp_path: Path):
    """The venue was away during one session; trades of that time are still missing."""
    script = [[Send(50), Stall(60), Drop()], [Skip(LOST), Stall(60), Drop()], [Send(50), Stall(60)]]
    with LocalVenue(islice(binance_trades(["BTCUSDT"]), 500), script) as venue:
        source = {"venue": "binance", "symbols": ["BTCUSDT"], "url": venue.url}
        feed = {"feed": {"websocket": {"sources": [source]}}}
        first, silent, third = (run(tmp_path, feed) for _ in range(3))
    assert silent.steps["session"].counters["tick_count"] == 0
    since = third.steps["session"].since_last
    assert since.session_id == first.steps["session"].session_id
    assert [gap.missing for gap in since.instruments] == [LOST]
    (gap,) = third.rows("SELECT missing FROM gaps WHERE session_id = ? AND to_id IS NOT NULL", third.session_id)
    assert gap["missing"] == LOST


def test_without_trade_ids_only_time_is_measured(tmp_path: Path):
    """A replay has no previous session."""
    run(tmp_path, synthetic_feed(50))
    run(tmp_path, replay_feed(write_csv(tmp_path / "x.csv", make_csv_rows(5))))
    second = run(tmp_path, synthetic_feed(50))
    since = second.steps["session"].since_last
    assert since is not None and since.seconds > 0
    assert [(gap.symbol, gap.last_id, gap.missing) for gap in since.instruments] == [("SOL/USDC", None, None)]
    assert second.count("gaps") == 0
    replayed = run(tmp_path, replay_feed(tmp_path / "x.csv"))
    assert replayed.steps["session"].since_last is None


@pytest.mark.parametrize(
    ("contiguous", "last", "first", "found"),
    [
        (True, 5, 6, []),
        (True, 5, 9, [("5", "9", 3)]),
        (True, 5, 3, []),
        (False, "a", "q", [("a", "q", None)]),
        (False, "a", "a", []),
    ],
)
def test_a_stream_resumes_from_the_previous_session(
    contiguous: bool, last: int | str, first: int | str, found: list[Any]
):
    tracker = GapTracker("ACME", contiguous=contiguous, numbers=GapNumbers())
    tracker.resume_from("X", last, 1)
    tracker.observe("X", [Trade("X", Decimal(1), Decimal(1), 1, first, 5)], 7)
    gaps = tracker.finish(9)
    assert [(gap.from_id, gap.to_id, gap.missing) for gap in gaps if gap.to_id] == found
    assert {gap.cause for gap in gaps} <= {BETWEEN_SESSIONS}


def test_an_instrument_without_a_new_trade_has_an_open_gap():
    tracker = GapTracker("ACME", contiguous=True, numbers=GapNumbers())
    tracker.resume_from("X", 5, 1)
    (gap,) = tracker.finish(9)
    assert (gap.from_id, gap.to_id, gap.missing, gap.cause) == ("5", None, None, BETWEEN_SESSIONS)
