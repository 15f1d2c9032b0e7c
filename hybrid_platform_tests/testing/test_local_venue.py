"""The local venue performs its script, as a plain websocket client observes it."""

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


def receive_all(venue: LocalVenue, *, decode: bool | None = None) -> tuple[list, ConnectionClosed]:
    """Subscribe, and return all frames and how it ended."""
    frames = []
    with connect(venue.url, proxy=None, max_size=None) as client:
        client.send("subscribe")
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                frames.append(client.recv(decode=decode))
    return frames, closed.value


def test_it_sends_its_frames_and_records_messages():
    with LocalVenue(LETTERS, [[Send(), Close()]]) as venue:
        assert receive_all(venue)[0] == LETTERS
        assert (venue.received, venue.attempts, venue.sent, venue.skipped) == (["subscribe"], 1, 10, 0)


def test_connections_share_one_market():
    """Frames skipped while disconnected are lost."""
    script = [[Send(3), Drop()], [Skip(2), Repeat(2), Send(1), Close(1012, "restart")], [Reverse(3), Close()]]
    with LocalVenue(LETTERS, script) as venue:
        first, ended = receive_all(venue)
        assert first == ["a", "b", "c"]
        assert ended.rcvd is None, "cut without a closing handshake"
        second, ended = receive_all(venue)
        assert second == ["b", "c", "f"]
        assert (ended.rcvd.code, ended.rcvd.reason) == (1012, "restart")
        assert receive_all(venue)[0] == ["i", "h", "g"]
        assert (venue.sent, venue.skipped) == (7, 2)


def test_garbage_is_sent_unchanged():
    with LocalVenue([], [[Garbage(), NotUtf8(), Huge(5_000), Close()]]) as venue:
        frames, _ = receive_all(venue, decode=False)
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
            assert client.recv() == "a", "a connection after the script receives the rest"


def test_a_slow_frame_arrives_whole():
    with LocalVenue(["abcdefgh"], [[Slow(1, seconds=0.02), Close()]]) as venue:
        assert receive_all(venue)[0] == ["abcdefgh"]


def test_a_stall_ends_when_its_time_is_over():
    with LocalVenue(LETTERS, [[Send(1), Stall(0.05), Send(1), Close()]]) as venue:
        assert receive_all(venue)[0] == ["a", "b"]


def test_the_rate_is_kept_on_average():
    started = time.monotonic()
    with LocalVenue(map(str, range(60)), [[Send(per_second=200), Close()]]) as venue:
        assert len(receive_all(venue)[0]) == 60
    assert time.monotonic() - started >= 59 / 200 - 0.01


def test_it_need_not_wait_for_a_subscription():
    with LocalVenue(LETTERS, wait_for_subscription=False) as venue, connect(venue.url, proxy=None) as client:
        assert client.recv() == "a"


def test_pages_are_served_on_the_same_port():
    with LocalVenue([], pages={"/markets": '{"a":1}'}) as venue:
        with urllib.request.urlopen(venue.url.replace("ws:", "http:") + "/markets?x=1") as answer:
            assert json.load(answer) == {"a": 1}
            assert answer.headers["Content-Type"] == "application/json"
        assert venue.attempts == 0


def test_it_listens_on_loopback_and_cleans_up():
    with LocalVenue(LETTERS) as venue:
        port = int(venue.url.rsplit(":", 1)[1])
        assert venue.url.startswith("ws://127.0.0.1:")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_port_in_use_is_an_error_at_once():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        LocalVenue(LETTERS, port=taken.getsockname()[1]).__enter__()


def test_generated_trades_are_determined_by_their_seed():
    """Ids increase by one per symbol."""
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
