"""Tests of Landlock on this kernel, as root if the tests run as root (I1)."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hybrid_platform.sandbox import _linux, landlock
from hybrid_platform.sandbox.grants import Grants
from hybrid_platform_tests.sandbox.conftest import in_fork, needs_landlock


def outcome(action: Callable[[], object]) -> str:
    try:
        action()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "OK"


def confined(grants: Grants, *actions: Callable[[], object]) -> list[str]:
    """Return the outcome of each action in a process with these grants."""

    def run() -> list[str]:
        _linux.prctl(_linux.PR_SET_NO_NEW_PRIVS, 1)
        status = landlock.restrict(grants)
        assert status.all_threads and not status.error
        return [outcome(action) for action in actions]

    return in_fork(run)


@pytest.fixture
def tree(tmp_path):
    for name in ("code", "private", "work", "names"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "code" / "link").symlink_to(tmp_path / "private" / "file")
    return tmp_path.resolve()


def grants(tree: Path) -> Grants:
    return Grants((str(tree / "code"),), (str(tree / "names"),), (str(tree / "work"),))


@needs_landlock
@pytest.mark.scenario("I1")
def test_only_granted_files_can_be_read(tree):
    assert confined(
        grants(tree),
        (tree / "code" / "file").read_text,
        (tree / "private" / "file").read_text,
        (tree / "code" / "link").read_text,
        lambda: list(os.scandir(tree / "private")),
        Path("/etc/passwd").read_text,
        Path(f"/proc/{os.getppid()}/environ").read_bytes,
    ) == ["OK", "EACCES", "EACCES", "EACCES", "EACCES", "EACCES"]


@needs_landlock
@pytest.mark.scenario("I1")
def test_a_readable_directory_cannot_be_changed(tree):
    code = tree / "code"
    assert (
        confined(
            grants(tree),
            lambda: (code / "file").write_text("changed"),
            (code / "evil.pth").touch,
            (code / "folder").mkdir,
            (code / "file").unlink,
            lambda: (code / "file").rename(code / "other"),
            lambda: (code / "linked").hardlink_to(tree / "private" / "file"),
            lambda: (code / "pointer").symlink_to("/"),
            lambda: os.truncate(code / "file", 0),
            lambda: os.mkfifo(code / "fifo"),
        )
        == ["EACCES"] * 9
    )


@needs_landlock
def test_writable_and_listable_directories_differ(tree):
    assert confined(
        grants(tree),
        lambda: (tree / "work" / "new").write_text("x"),
        (tree / "work" / "new").read_text,
        (tree / "work" / "new").unlink,
        lambda: list(os.scandir(tree / "names")),
        (tree / "names" / "file").read_text,
    ) == ["OK", "OK", "OK", "OK", "EACCES"]


@needs_landlock
@pytest.mark.scenario("I1")
@pytest.mark.skipif(landlock.read_abi() < 4, reason="Landlock knows no network before ABI 4")
def test_tcp_is_denied_by_landlock_alone(tree):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        assert confined(
            grants(tree),
            lambda: socket.create_connection(address).close(),
            lambda: socket.create_server(("127.0.0.1", 0)).close(),
        ) == ["EACCES", "EACCES"]


@needs_landlock
@pytest.mark.scenario("I1")
@pytest.mark.skipif(landlock.read_abi() < 6, reason="Landlock knows no signals before ABI 6")
def test_only_the_own_process_can_be_signalled(tree):
    with subprocess.Popen(["sleep", "600"]) as neighbour:
        assert confined(
            grants(tree),
            lambda: os.kill(neighbour.pid, signal.SIGTERM),
            lambda: os.kill(os.getpid(), 0),
        ) == ["EPERM", "OK"]
        assert neighbour.poll() is None
        neighbour.kill()


def with_threads(tree: Path) -> dict[str, object]:
    """Confine a process that already has another thread; return the outcomes of reading in both threads."""
    go, got = threading.Event(), {}

    def read(name: str) -> None:
        got[name] = outcome((tree / "private" / "file").read_text)

    older = threading.Thread(target=lambda: (go.wait(), read("older")))
    older.start()
    _linux.prctl(_linux.PR_SET_NO_NEW_PRIVS, 1)
    status = landlock.restrict(grants(tree))
    go.set()
    newer = threading.Thread(target=read, args=("newer",))
    newer.start()
    for thread in (older, newer):
        thread.join()
    return {**got, "all_threads": status.all_threads}


@needs_landlock
@pytest.mark.scenario("I1")
def test_the_status_reports_an_unconfined_older_thread(tree):
    got = in_fork(lambda: with_threads(tree))
    assert got["newer"] == "EACCES"
    # From ABI 8 on the kernel includes other threads; before, it covers only a process with one thread.
    assert got["all_threads"] == (landlock.read_abi() >= 8)
    assert got["older"] == ("EACCES" if got["all_threads"] else "OK")


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (1, (0x1FFF, 0, 0)),
        (2, (0x3FFF, 0, 0)),
        (3, (0x7FFF, 0, 0)),
        (4, (0x7FFF, 3, 0)),
        (5, (0xFFFF, 3, 0)),
        (6, (0xFFFF, 3, 3)),
        (8, (0xFFFF, 3, 3)),
        (9, (0x1FFFF, 3, 3)),
        (99, (0x1FFFF, 3, 3)),
    ],
)
def test_each_abi_denies_every_right_it_has(version, expected):
    assert landlock.supported_rights(version) == expected


def test_a_kernel_without_landlock_is_reported(monkeypatch):
    monkeypatch.setattr(landlock, "read_abi", lambda: 0)
    status = landlock.restrict(Grants(()))
    assert status.abi == 0 and not status.all_threads and "no Landlock" in status.error
