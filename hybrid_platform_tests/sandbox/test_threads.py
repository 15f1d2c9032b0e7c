"""Tests of the weaker isolation: only the stages' threads are filtered, and the evidence claims no more (I1)."""

from __future__ import annotations

import os
import socket
import threading

import msgspec
import pytest

from hybrid_platform.domain.isolation import Enforced, IsolationEvidence
from hybrid_platform.sandbox import seccomp
from hybrid_platform.sandbox.status import read_threads
from hybrid_platform.sandbox.threads import ThreadSandbox
from hybrid_platform_tests.sandbox.conftest import in_fork, needs_seccomp


def session(try_in_stage=lambda: None) -> IsolationEvidence:
    """Run two stages under `ThreadSandbox` and return the evidence."""
    with ThreadSandbox() as sandbox:

        def stage(name: str) -> None:
            with sandbox.stage(name):
                try_in_stage()

        stages = [threading.Thread(target=stage, args=(name,)) for name in ("strategy", "execution")]
        for thread in stages:
            thread.start()
        for thread in stages:
            thread.join()
        socket.socket().close()  # other threads of the process are not affected
        return sandbox.evidence()


def in_fork_evidence(action) -> IsolationEvidence:
    return msgspec.convert(in_fork(action), IsolationEvidence)


@needs_seccomp
@pytest.mark.scenario("I1")
def test_stages_are_filtered_and_other_threads_are_not():
    evidence = in_fork_evidence(session)
    assert evidence.enforced is Enforced.KERNEL_THREAD
    assert [thread.name for thread in evidence.start.threads] == ["strategy", "execution"]
    assert all(thread.is_filtered for thread in (*evidence.start.threads, *evidence.end.threads))
    assert evidence.selftest_start.held and evidence.selftest_end.held
    assert evidence.control.network and evidence.denied == ()
    assert evidence.ending == "closed"


@needs_seccomp
@pytest.mark.scenario("I1")
def test_attempts_of_a_stage_are_refused_and_counted():
    def rogue() -> None:
        with pytest.raises(PermissionError):
            socket.socket()

    evidence = in_fork_evidence(lambda: session(rogue))
    assert sorted((entry.stage, entry.name, entry.count) for entry in evidence.denied) == [
        ("execution", "socket.__new__", 1),
        ("strategy", "socket.__new__", 1),
    ]


@pytest.mark.scenario("I1")
def test_a_refused_filter_leaves_audit_hook_only(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "not here")

    monkeypatch.setattr(seccomp, "load", refuse)

    def rogue() -> None:
        with pytest.raises(PermissionError, match="a sandboxed strategy"):
            socket.socket()

    evidence = in_fork_evidence(lambda: session(rogue))
    assert evidence.enforced is Enforced.AUDIT_HOOK_ONLY
    assert evidence.filter_sha256 is None
    assert evidence.faults == ("seccomp: strategy: [Errno 1] not here", "seccomp: execution: [Errno 1] not here")


def test_an_ended_stage_does_not_affect_later_threads(monkeypatch):
    monkeypatch.setattr(seccomp, "load", lambda *_, **__: None)

    def run() -> str:
        with ThreadSandbox() as sandbox:
            with sandbox.stage("strategy"), pytest.raises(PermissionError):
                socket.socket()
            socket.socket().close()
            return "free"

    assert in_fork(run) == "free"


def test_without_a_stage_only_the_hook_is_claimed():
    def nothing() -> IsolationEvidence:
        with ThreadSandbox() as sandbox:
            return sandbox.evidence()

    evidence = in_fork_evidence(nothing)
    assert evidence.enforced is Enforced.AUDIT_HOOK_ONLY
    assert evidence.start is None and evidence.selftest_start is None


@needs_seccomp
def test_the_main_thread_of_the_tests_is_unfiltered():
    assert read_threads(os.getpid(), only=[os.getpid()])[0].seccomp == 0
