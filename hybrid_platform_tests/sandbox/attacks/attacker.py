"""The process that is attacked from within: a guarded child, or a host whose forks run unguarded or by thread.

Guarded: main module of `spawn`. Host (``--host``): reads one job a line, forks, and lets the copy do it
with a live connection of its own and threads that were there before, as the op's process has.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import msgspec

from hybrid_platform.domain.isolation import IsolationEvidence
from hybrid_platform.sandbox.child import enter

Stage = Callable[[str], AbstractContextManager[None]]


class Job(msgspec.Struct, frozen=True):
    """One attack, to be run without a guard or under `ThreadSandbox`."""

    attack: str
    target: bytes
    thread: bool = False


class Result(msgspec.Struct, frozen=True):
    """What the attack itself said, which proves nothing."""

    said: str | None
    error: str | None
    evidence: IsolationEvidence | None = None


def guarded() -> None:
    """Run the job in this guarded child."""
    guard = enter()
    job = msgspec.json.decode(guard.arguments, type=Job)

    @contextlib.contextmanager
    def stage(name: str):
        guard.stage(name)
        yield

    result = perform(job, stage, allowed=guard.pipes["allowed"])
    os.write(guard.pipes["result"], msgspec.json.encode(result))
    guard.leave()


def host() -> None:
    """Run each job that standard input names in a fork of this process, one after the other."""
    # Once, before the forks.
    from hybrid_platform.sandbox import threads  # noqa: F401
    from hybrid_platform_tests.sandbox.attacks import catalogue  # noqa: F401

    for line in sys.stdin.buffer:
        job = msgspec.json.decode(line, type=Job)
        child = os.fork()
        if child == 0:
            try:
                _unguarded(job)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.write(1, b"\n")


def _unguarded(job: Job) -> None:
    from hybrid_platform.sandbox.threads import ThreadSandbox
    from hybrid_platform_tests.sandbox.attacks.target import Target

    target = msgspec.json.decode(job.target, type=Target)
    feed = socket.create_connection(("127.0.0.1", target.tcp))
    _, allowed = os.pipe()
    job = msgspec.structs.replace(
        job, target=msgspec.json.encode(msgspec.structs.replace(target, descriptor=feed.fileno()))
    )
    if job.thread:
        with ThreadSandbox() as guards:
            result = perform(job, guards.stage, allowed)
            result = msgspec.structs.replace(result, evidence=guards.evidence())
    else:
        result = perform(job, contextlib.nullcontext, allowed)
    os.write(1, msgspec.json.encode(result))


def perform(job: Job, stage: Stage, allowed: int) -> Result:
    """Run the attack in a strategy's thread, while the main thread goes on."""
    from concurrent.futures import ThreadPoolExecutor

    from hybrid_platform_tests.sandbox.attacks.catalogue import BY_NAME
    from hybrid_platform_tests.sandbox.attacks.target import Surroundings, Target

    target = msgspec.structs.replace(msgspec.json.decode(job.target, type=Target), allowed=allowed)
    results: list[Result] = []
    with ThreadPoolExecutor(1) as executor:
        executor.submit(int).result()
        around = Surroundings(target, executor)

        def strategy() -> None:
            with stage("strategy"):
                try:
                    results.append(Result(BY_NAME[job.attack].run(around), None))
                except Exception as error:
                    results.append(Result(None, f"{type(error).__name__}: {error}"))

        thread = threading.Thread(target=strategy, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.01)
    return results[0]


if __name__ == "__main__":
    host() if "--host" in sys.argv else guarded()
