"""The process that runs an attack: a sandboxed child, or a host whose forks run without a sandbox or by thread.

As a sandboxed child it is the main module of `spawn`. As a host (``--host``) it reads one job per line and forks; the
fork does the job with an open connection and older threads, as in a real host process.
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
    """One attack, to be run without a sandbox or in a `ThreadSandbox`."""

    attack: str
    target: bytes
    thread: bool = False


class Result(msgspec.Struct, frozen=True):
    """Return value or error of the attack itself, which proves nothing."""

    said: str | None
    error: str | None
    evidence: IsolationEvidence | None = None


def run_sandboxed() -> None:
    """Run the job in this sandboxed child."""
    sandbox = enter()
    job = msgspec.json.decode(sandbox.arguments, type=Job)

    @contextlib.contextmanager
    def stage(name: str):
        sandbox.stage(name)
        yield

    result = perform(job, stage, allowed=sandbox.pipes["allowed"])
    os.write(sandbox.pipes["result"], msgspec.json.encode(result))
    sandbox.leave()


def host() -> None:
    """Run each job from standard input in a fork of this process, one at a time."""
    # Import once, before the forks.
    from hybrid_platform.sandbox import threads  # noqa: F401
    from hybrid_platform_tests.sandbox.attacks import catalogue  # noqa: F401

    for line in sys.stdin.buffer:
        job = msgspec.json.decode(line, type=Job)
        child = os.fork()
        if child == 0:
            try:
                _run_unconfined(job)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.write(1, b"\n")


def _run_unconfined(job: Job) -> None:
    from hybrid_platform.sandbox.threads import ThreadSandbox
    from hybrid_platform_tests.sandbox.attacks.target import Target

    target = msgspec.json.decode(job.target, type=Target)
    feed = socket.create_connection(("127.0.0.1", target.tcp))
    _, allowed = os.pipe()
    job = msgspec.structs.replace(
        job, target=msgspec.json.encode(msgspec.structs.replace(target, descriptor=feed.fileno()))
    )
    if job.thread:
        with ThreadSandbox() as sandbox:
            result = perform(job, sandbox.stage, allowed)
            result = msgspec.structs.replace(result, evidence=sandbox.evidence())
    else:
        result = perform(job, contextlib.nullcontext, allowed)
    os.write(1, msgspec.json.encode(result))


def perform(job: Job, stage: Stage, allowed: int) -> Result:
    """Run the attack in a strategy's thread while the main thread keeps running."""
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
    host() if "--host" in sys.argv else run_sandboxed()
