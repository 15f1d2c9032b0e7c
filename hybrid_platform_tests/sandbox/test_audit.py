"""Tests of the audit hook: it counts attempts by stage, refuses them without a filter, and ignores the rest (I1)."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import threading

import pytest

from hybrid_platform.sandbox.audit import MAX_ENTRIES, AuditHook
from hybrid_platform_tests.sandbox.conftest import in_fork, needs_linux


def counts_by_name(hook: AuditHook) -> dict[str, int]:
    return {f"{entry.stage} {entry.kind} {entry.name}": entry.count for entry in hook.counts()}


def install_hook(*, deny: bool = False, every_thread: bool = False) -> AuditHook:
    made = AuditHook(deny=deny, every_thread=every_thread)
    made.install()
    made.install()
    return made


@pytest.mark.scenario("I1")
def test_attempts_are_counted_by_event_and_stage():
    def run() -> dict[str, int]:
        hook = install_hook()
        hook.register("strategy")
        socket.socket().close()
        socket.socket().close()
        other = threading.Thread(target=lambda: (hook.register("execution"), socket.socket().close()))
        other.start()
        other.join()
        return counts_by_name(hook)

    assert in_fork(run) == {"strategy socket socket.__new__": 2, "execution socket socket.__new__": 1}


@pytest.mark.scenario("I1")
def test_a_denying_hook_refuses_attempts():
    def run() -> list[str]:
        hook = install_hook(deny=True)
        hook.register("strategy")
        outcomes = []
        for action in (socket.socket, os.fork, lambda: os.system("true"), lambda: socket.getaddrinfo("localhost", 1)):
            try:
                action()
                outcomes.append("done")
            except PermissionError as error:
                outcomes.append(os.strerror(error.errno))
        return outcomes

    assert in_fork(run) == [os.strerror(1)] * 4


def test_unregistered_threads_are_not_affected():
    def run() -> dict[str, int]:
        hook = install_hook(deny=True)
        hook.register("strategy")
        hook.unregister()
        socket.socket().close()
        return counts_by_name(hook)

    assert in_fork(run) == {}


@pytest.mark.scenario("I1")
def test_with_every_thread_unnamed_threads_count():
    def run() -> dict[str, int]:
        hook = install_hook(every_thread=True)
        other = threading.Thread(target=lambda: socket.socket().close())
        other.start()
        other.join()
        return counts_by_name(hook)

    assert in_fork(run) == {"another thread socket socket.__new__": 1}


def test_exempt_attempts_are_neither_counted_nor_refused():
    def run() -> dict[str, int]:
        hook = install_hook(deny=True, every_thread=True)
        with hook.exempt():
            socket.socket().close()
        return counts_by_name(hook)

    assert in_fork(run) == {}


@needs_linux
@pytest.mark.scenario("I1")
def test_only_lookups_of_denied_c_names_count():
    def run() -> dict[str, int]:
        hook = install_hook(every_thread=True)
        libc = ctypes.CDLL(None)
        assert libc.abs and libc.strlen and libc.connect
        return counts_by_name(hook)

    assert in_fork(run) == {"another thread machine-code ctypes.dlsym": 1}


def test_the_hook_knows_whether_it_is_installed():
    assert not AuditHook(deny=False, every_thread=True).is_alive()
    assert in_fork(lambda: install_hook().is_alive()) is True


def test_the_hooks_counts_are_bounded():
    def run() -> int:
        hook = install_hook(every_thread=True)
        for number in range(MAX_ENTRIES + 50):
            hook.register(f"stage {number}")
            sys.audit("socket.connect", None, None)
        return len(hook.counts())

    assert in_fork(run) == MAX_ENTRIES + 1
