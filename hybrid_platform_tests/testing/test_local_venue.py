"""The local venue does what its script says, seen by a plain websocket client."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from itertools import islice

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from hybrid_platform.testing import (
    Close,
    Drop,
    Garbage,
    Huge,
    LocalVenue,
    NotUtf8,
    Refuse,
    Repeat,
    Reverse,
    Send,
    Skip,
    Slow,
    Stall,
    TestClock,
    binance_trades,
)
from hybrid_platform.testing.actions import GARBAGE
from hybrid_platform_tests.conftest import REPOSITORY

LETTERS = [chr(ord("a") + n) for n in range(10)]


def heard(venue: LocalVenue, *, decode: bool | None = None) -> tuple[list, ConnectionClosed]:
    """Subscribe, and return all frames and how it ended."""
    frames = []
    with connect(venue.url, proxy=None, max_size=None) as client:
        client.send("subscribe")
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                frames.append(client.recv(decode=decode))
    return frames, closed.value


def test_it_plays_its_frames_and_keeps_what_it_was_sent():
    with LocalVenue(LETTERS, [[Send(), Close()]]) as venue:
        assert heard(venue)[0] == LETTERS
        assert (venue.received, venue.attempts, venue.sent, venue.skipped) == (["subscribe"], 1, 10, 0)


def test_connections_share_one_market_that_goes_on_without_them():
    script = [[Send(3), Drop()], [Skip(2), Repeat(2), Send(1), Close(1012, "restart")], [Reverse(3), Close()]]
    with LocalVenue(LETTERS, script) as venue:
        first, ended = heard(venue)
        assert first == ["a", "b", "c"]
        assert ended.rcvd is None, "cut without a word"
        second, ended = heard(venue)
        assert second == ["b", "c", "f"]
        assert (ended.rcvd.code, ended.rcvd.reason) == (1012, "restart")
        assert heard(venue)[0] == ["i", "h", "g"]
        assert (venue.sent, venue.skipped) == (7, 2)


def test_garbage_comes_as_it_is():
    with LocalVenue([], [[Garbage(), NotUtf8(), Huge(5_000), Close()]]) as venue:
        frames, _ = heard(venue, decode=False)
    assert frames[: len(GARBAGE)] == [frame if isinstance(frame, bytes) else frame.encode() for frame in GARBAGE]
    with pytest.raises(UnicodeDecodeError):
        frames[-2].decode()
    assert len(frames[-1]) > 5_000


def test_a_refusal_is_an_http_status():
    with LocalVenue(LETTERS, [[Refuse(429)]]) as venue:
        with pytest.raises(InvalidStatus, match="429"):
            connect(venue.url, proxy=None)
        with connect(venue.url, proxy=None) as client:
            client.send("x")
            assert client.recv() == "a", "what comes after the script gets the rest"


def test_a_dripping_frame_arrives_whole():
    with LocalVenue(["abcdefgh"], [[Slow(1, seconds=0.02), Close()]]) as venue:
        assert heard(venue)[0] == ["abcdefgh"]


def test_a_stall_ends_when_its_time_is_over():
    with LocalVenue(LETTERS, [[Send(1), Stall(0.05), Send(1), Close()]]) as venue:
        assert heard(venue)[0] == ["a", "b"]


def test_the_rate_is_kept_on_average():
    started = time.monotonic()
    with LocalVenue(map(str, range(60)), [[Send(per_second=200), Close()]]) as venue:
        assert len(heard(venue)[0]) == 60
    assert time.monotonic() - started >= 59 / 200 - 0.01


def test_it_need_not_wait_for_a_subscription():
    with LocalVenue(LETTERS, wait_for_subscription=False) as venue, connect(venue.url, proxy=None) as client:
        assert client.recv() == "a"


def test_pages_are_served_beside_the_websocket():
    with LocalVenue([], pages={"/markets": '{"a":1}'}) as venue:
        with urllib.request.urlopen(venue.url.replace("ws:", "http:") + "/markets?x=1") as answer:
            assert json.load(answer) == {"a": 1}
            assert answer.headers["Content-Type"] == "application/json"
        assert venue.attempts == 0


def test_it_listens_on_this_machine_only_and_leaves_nothing_behind():
    with LocalVenue(LETTERS) as venue:
        port = int(venue.url.rsplit(":", 1)[1])
        assert venue.url.startswith("ws://127.0.0.1:")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_port_that_is_taken_is_an_error_at_once():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        LocalVenue(LETTERS, port=taken.getsockname()[1]).__enter__()


def test_made_up_trades_follow_from_their_seed_and_count_per_symbol():
    clock = TestClock()
    one, two = (list(islice(binance_trades(["A", "B"], seed=3, clock=clock), 100)) for _ in range(2))
    assert one == two
    trades = [json.loads(frame)["data"] for frame in one]
    assert [trade["t"] for trade in trades if trade["s"] == "B"] == list(range(1, 51))
    assert {trade["T"] for trade in trades} == {clock.wall_ns() // 1_000_000}
    assert one != list(islice(binance_trades(["A", "B"], seed=4, clock=clock), 100))


def test_it_can_be_run_by_hand():
    command = [sys.executable, "-m", "hybrid_platform.testing", "--port", "0", "--rate", "1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        with connect(process.stdout.readline().strip(), proxy=None) as client:
            client.send("subscribe")
            assert json.loads(client.recv())["data"]["s"] == "BTCUSDT"
        process.send_signal(signal.SIGTERM)
        assert "to 1 connections" in process.stdout.read()
    assert process.returncode == 0
