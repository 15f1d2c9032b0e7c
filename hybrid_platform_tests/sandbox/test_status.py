"""Tests of what is read of a process from outside: its threads, descriptors and network (I1)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_platform.sandbox import process
from hybrid_platform.sandbox.descriptors import close_all_but, describe_descriptor, list_descriptors
from hybrid_platform.sandbox.status import read_process, read_threads
from hybrid_platform_tests.sandbox.conftest import in_fork, needs_linux

HOLDER = """
import os, socket, sys, threading
kept = [socket.socket(), *socket.socketpair(), open(os.devnull), *os.pipe()]
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True); sys.stdin.read()
"""


@pytest.fixture
def holder():
    """A process with three sockets and two threads."""
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        running.stdout.readline()
        yield running.pid
        running.kill()


@needs_linux
@pytest.mark.scenario("I1")
def test_sockets_and_unfiltered_threads_are_read(holder):
    reading = read_process(holder)
    assert reading.sockets == 3
    assert [thread.seccomp for thread in reading.threads] == [0, 0]
    assert not any(thread.is_filtered for thread in reading.threads)
    assert reading.own_network is False
    assert sum(entry.endswith(" pipe") for entry in reading.descriptors) == 4


@needs_linux
def test_an_ended_process_reads_as_unknown():
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    reading = read_process(gone.pid)
    assert reading.threads is None and reading.sockets is None and reading.descriptors is None


@needs_linux
def test_only_the_named_threads_are_read():
    mine = read_threads(os.getpid(), only=[os.getpid(), 999_999_999])
    assert [thread.tid for thread in mine] == [os.getpid()]


@pytest.mark.scenario("I1")
def test_all_other_descriptors_are_closed():
    def run() -> dict[str, object]:
        kept = {number for number, kind in list_descriptors().items() if kind == "pipe"}
        ends = {endpoint.detach() for endpoint in socket.socketpair()}
        assert ends <= set(list_descriptors())
        close_all_but(kept)
        return {"kept": kept <= set(list_descriptors()), "left": sorted(set(list_descriptors()) - kept - {0, 1, 2})}

    assert in_fork(run) == {"kept": True, "left": []}


def test_descriptors_are_described_by_kind(tmp_path):
    read, write = os.pipe()
    with socket.socket() as endpoint, (tmp_path / "file").open("w") as file, Path(os.devnull).open() as device:
        opened = {read: "pipe", endpoint.fileno(): "socket", file.fileno(): "file", device.fileno(): "device"}
        assert {number: describe_descriptor(number) for number in opened} == opened
    os.close(read)
    os.close(write)


@needs_linux
@pytest.mark.scenario("I1")
def test_a_non_dumpable_process_can_read_itself():
    def hide() -> dict[str, object]:
        process.set_dumpable(dumpable=False)
        return {"dumpable": process.is_dumpable(), "threads": len(read_threads(os.getpid()))}

    assert in_fork(hide) == {"dumpable": False, "threads": 1}
    assert process.is_dumpable()


@needs_linux
@pytest.mark.scenario("I1")
def test_dropped_capabilities_are_read_back():
    def drop() -> str:
        process.drop_capabilities()
        return read_threads(os.getpid())[0].capabilities

    assert int(in_fork(drop), 16) == 0


@needs_linux
@pytest.mark.scenario("I1")
def test_an_empty_network_reaches_nothing():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()

        def leave() -> str:
            try:
                process.leave_network()
            except OSError:
                return "refused"
            try:
                socket.create_connection(address).close()
            except OSError as error:
                return f"errno {error.errno}, own network {namespace.readlink() != outside}"
            return "reached"

        namespace = Path("/proc/self/ns/net")
        outside = namespace.readlink()
        answer = in_fork(leave)
    if answer == "refused":
        pytest.skip("this host allows no network namespace")
    assert answer == "errno 101, own network True"
