"""Tests of loaded filters on this kernel: the threads they bind, read from outside those threads (I1)."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from hybrid_platform.sandbox import _linux, seccomp
from hybrid_platform.sandbox.bpf import Filter
from hybrid_platform.sandbox.status import read_threads
from hybrid_platform_tests.sandbox.conftest import in_fork, needs_seccomp

pytestmark = needs_seccomp


def with_an_older_thread(all_threads: bool) -> dict[str, object]:
    """Load the filter while another thread waits; return the status of both, and the outcome of the older one."""
    ready, go, got = threading.Event(), threading.Event(), []

    def older() -> None:
        ready.set()
        go.wait()
        try:
            os.close(os.dup(0))
            got.append("OK")
        except OSError as error:
            got.append(errno.errorcode[error.errno])

    thread = threading.Thread(target=older)
    thread.start()
    ready.wait()
    seccomp.load(Filter(_linux.machine()), all_threads=all_threads)
    status = read_threads(os.getpid())
    go.set()
    thread.join()
    return {
        "seccomp": [entry.seccomp for entry in status],
        "new_privs": [entry.no_new_privs for entry in status],
        "older": got[0],
    }


@pytest.mark.scenario("I1")
def test_a_filter_for_all_threads_binds_older_threads():
    assert in_fork(lambda: with_an_older_thread(all_threads=True)) == {
        "seccomp": [2, 2],
        "new_privs": [True, True],
        "older": "EPERM",
    }


def test_a_filter_for_one_thread_leaves_others_unfiltered():
    assert in_fork(lambda: with_an_older_thread(all_threads=False)) == {
        "seccomp": [2, 0],
        "new_privs": [True, False],
        "older": "OK",
    }


@pytest.mark.scenario("I1")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can show that root is bound")
def test_root_with_all_capabilities_is_bound_too():
    def try_it() -> list[str]:
        seccomp.load(Filter(_linux.machine()), all_threads=True)
        outcomes = []
        for action in (
            lambda: os.close(os.dup(0)),
            lambda: Path("/").chmod(0o755),
            lambda: _linux.unshare(0x4000_0000),
        ):
            try:
                action()
                outcomes.append("OK")
            except OSError as error:
                outcomes.append(errno.errorcode[error.errno])
        return [*outcomes, read_threads(os.getpid())[0].capabilities]

    *outcomes, capabilities = in_fork(try_it)
    assert outcomes == ["EPERM"] * 3
    assert int(capabilities, 16) != 0


def test_a_refused_filter_raises():
    def load_nothing() -> str:
        empty = Filter(_linux.machine(), rules=())
        empty.instructions, empty.program = ((0xFFFF, 0, 0, 0),), bytes.fromhex("ffff000000000000")
        try:
            seccomp.load(empty, all_threads=True)
        except OSError as error:
            return errno.errorcode[error.errno]
        return "loaded"

    assert in_fork(load_nothing) == "EINVAL"
