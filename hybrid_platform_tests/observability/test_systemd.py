"""sd_notify with a real datagram socket in place of systemd: order, sender and conditions of the messages."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from hybrid_platform.cli import run_monitor
from hybrid_platform.cli.main import main
from hybrid_platform.cli.run_monitor import RunMonitor
from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.observability.systemd import ServiceManager
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.testing.clock import TestClock
from hybrid_platform_tests.observability.watched import started
from hybrid_platform_tests.support import synthetic_feed


class Manager:
    """systemd's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    @property
    def heard(self) -> list[str]:
        """The messages that arrived since the last call."""
        messages = []
        self._socket.setblocking(False)
        try:
            while True:
                messages.append(self._socket.recv(65536).decode())
        except BlockingIOError:
            return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """A socket in the abstract namespace; other tests use one with a path."""
    made = Manager(f"@hybrid-{uuid.uuid4().hex}")
    monkeypatch.setenv("NOTIFY_SOCKET", made.address)
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    monkeypatch.setattr("hybrid_platform.run.steps.finalize_run", lambda run: SimpleNamespace(report="none"))
    yield made
    made.close()


def shadow_run(data_dir: Path, *sets: str) -> int:
    """Run the command in this process; return its exit code."""
    arguments = ["shadow-run", "--data-dir", str(data_dir), "--set", "gates.cpu_pressure_limit=100"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, *(part for each in sets for part in ("--set", each))])
    return int(ended.value.code or 0)


def test_ready_alive_stopping_in_order(manager: Manager, tmp_path: Path):
    assert shadow_run(tmp_path / "data", "seconds=1", "feed.synthetic.ticks_per_second=100", "isolation=thread") == 0
    heard = manager.heard
    assert heard[0] == "STATUS=checking the host"
    (ready,) = (n for n, message in enumerate(heard) if message.startswith("READY=1\n"))
    (stopping,) = (n for n, message in enumerate(heard) if message.startswith("STOPPING=1\n"))
    alive = [n for n, message in enumerate(heard) if "WATCHDOG=1" in message]
    assert alive and 0 < ready < min(alive) <= max(alive) < stopping == len(heard) - 1
    assert any(" ticks, " in message for message in heard[ready:])
    assert "NOTIFY_SOCKET" not in os.environ and "WATCHDOG_USEC" not in os.environ, "no child inherits them"


def test_refused_run_is_never_ready(manager: Manager, tmp_path: Path):
    assert shadow_run(tmp_path / "data", "mode=LIVE") == 12
    assert manager.heard == ["STATUS=checking the host"]


def test_no_watchdog_signal_without_polling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    manager = Manager(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "2")
    monitor = RunMonitor(load_settings({}, environ={}))
    with started(tmp_path / "data", synthetic_feed(50, ticks=20)) as watched:
        monitor.poll(watched.shadow)
        assert any("WATCHDOG=1" in message for message in manager.heard)
        monkeypatch.setattr(run_monitor, "STALL_SECONDS", -1.0)
        for _ in range(5):
            monitor.poll(watched.shadow)
        assert manager.heard == [], "the command's own thread runs, and that proves nothing"
        watched.finish()
    manager.close()


def test_watchdog_four_times_a_period_status_every_ten_seconds(tmp_path: Path):
    manager, clock = Manager(str(tmp_path / "notify")), TestClock(wall_ns=0)
    to = ServiceManager({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "20000000"}, clock)
    for _ in range(200):
        to.alive("fine")
        clock.advance(0.1)
    heard = manager.heard
    assert sum("WATCHDOG=1" in message for message in heard) == 4
    assert sum("STATUS=fine" in message for message in heard) == 2
    manager.close()


@pytest.mark.parametrize(
    ("environ", "is_watched"),
    [
        ({"WATCHDOG_USEC": "1000"}, True),
        ({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}, False),
        ({"WATCHDOG_USEC": "nonsense"}, False),
        ({}, False),
    ],
)
def test_watchdog_signal_only_for_the_asked_process(tmp_path: Path, environ: dict[str, str], is_watched: bool):
    manager = Manager(str(tmp_path / "notify"))
    variables = {"NOTIFY_SOCKET": manager.address, **environ}
    ServiceManager(variables, SystemClock()).alive("a\nREADY=1")
    assert variables == {}
    (message,) = manager.heard
    assert ("WATCHDOG=1" in message) is is_watched
    assert message.endswith("STATUS=a READY=1"), "a status is one line"
    manager.close()


@pytest.mark.parametrize("address", ["", "/nonexistent/notify", "@", "relative\0", "x" * 300])
def test_without_a_service_manager(address: str):
    to = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"}, SystemClock())
    for notify in (to.ready, to.alive, to.stopping, to.status):
        notify("x")


def test_service_manager_that_does_not_read(tmp_path: Path):
    manager = Manager(str(tmp_path / "notify"))
    to = ServiceManager({"NOTIFY_SOCKET": manager.address}, SystemClock())
    for _ in range(2_000):
        to.status("x" * 1_000)
    assert len(manager.heard) < 2_000
    manager.close()
