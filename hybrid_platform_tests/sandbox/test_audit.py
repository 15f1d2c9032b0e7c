"""The audit hook: counts who tried what, refuses where it is the last line, and stays out of the way (I1)."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import threading

import pytest

from hybrid_platform.sandbox.audit import MAX_ENTRIES, AuditHook
from hybrid_platform_tests.sandbox.conftest import in_fork, needs_linux


def counted(hook: AuditHook) -> dict[str, int]:
    return {f"{entry.stage} {entry.kind} {entry.name}": entry.count for entry in hook.counts()}


def hook(*, deny: bool = False, every_thread: bool = False) -> AuditHook:
    made = AuditHook(deny=deny, every_thread=every_thread)
    made.install()
    made.install()
    return made


@pytest.mark.scenario("I1")
def test_attempts_are_counted_by_event_and_stage():
    def run() -> dict[str, int]:
        watching = hook()
        watching.register("strategy")
        socket.socket().close()
        socket.socket().close()
        other = threading.Thread(target=lambda: (watching.register("execution"), socket.socket().close()))
        other.start()
        other.join()
        return counted(watching)

    assert in_fork(run) == {"strategy socket socket.__new__": 2, "execution socket socket.__new__": 1}


@pytest.mark.scenario("I1")
def test_as_the_last_line_it_refuses():
    def run() -> list[str]:
        watching = hook(deny=True)
        watching.register("strategy")
        said = []
        for action in (socket.socket, os.fork, lambda: os.system("true"), lambda: socket.getaddrinfo("localhost", 1)):
            try:
                action()
                said.append("done")
            except PermissionError as error:
                said.append(os.strerror(error.errno))
        return said

    assert in_fork(run) == [os.strerror(1)] * 4


def test_threads_that_are_not_guarded_go_on_as_before():
    def run() -> dict[str, int]:
        watching = hook(deny=True)
        watching.register("strategy")
        watching.unregister()
        socket.socket().close()
        return counted(watching)

    assert in_fork(run) == {}


@pytest.mark.scenario("I1")
def test_under_process_isolation_every_thread_counts():
    def run() -> dict[str, int]:
        watching = hook(every_thread=True)
        other = threading.Thread(target=lambda: socket.socket().close())
        other.start()
        other.join()
        return counted(watching)

    assert in_fork(run) == {"another thread socket socket.__new__": 1}


def test_the_self_tests_own_attempts_are_exempt():
    def run() -> dict[str, int]:
        watching = hook(deny=True, every_thread=True)
        with watching.exempt():
            socket.socket().close()
        return counted(watching)

    assert in_fork(run) == {}


@needs_linux
@pytest.mark.scenario("I1")
def test_a_denied_call_looked_up_by_its_c_name_counts_and_an_honest_one_does_not():
    def run() -> dict[str, int]:
        watching = hook(every_thread=True)
        libc = ctypes.CDLL(None)
        assert libc.abs and libc.strlen and libc.connect
        return counted(watching)

    assert in_fork(run) == {"another thread machine-code ctypes.dlsym": 1}


def test_it_knows_whether_it_is_installed():
    assert not AuditHook(deny=False, every_thread=True).is_alive()
    assert in_fork(lambda: hook().is_alive()) is True


def test_its_memory_is_bounded():
    def run() -> int:
        watching = hook(every_thread=True)
        for number in range(MAX_ENTRIES + 50):
            watching.register(f"stage {number}")
            sys.audit("socket.connect", None, None)
        return len(watching.counts())

    assert in_fork(run) == MAX_ENTRIES + 1
