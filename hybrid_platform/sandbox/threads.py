"""The weaker isolation, in which strategy and execution are threads of the host process (I1).

In: a stage's thread, before user code runs in it. Out: a filter for that thread and its descendants, Python's audit
hook, and `IsolationEvidence` that claims no more than this. It stops honest mistakes. Code that shares the heap can
make another thread do the call, and files are not confined.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import msgspec

from hybrid_platform.domain.isolation import (
    Denied,
    Enforced,
    IsolationEvidence,
    LandlockStatus,
    PositiveControl,
    Reading,
    SelfTest,
    ThreadStatus,
)  # fmt: skip
from hybrid_platform.sandbox import _linux, process, seccomp, selftest
from hybrid_platform.sandbox.audit import AuditHook
from hybrid_platform.sandbox.bpf import Filter
from hybrid_platform.sandbox.levels import decide_level
from hybrid_platform.sandbox.listener import Listener
from hybrid_platform.sandbox.status import read_threads

_ARRIVALS_IN_CONTROL = 2


class ThreadSandbox:
    """The sandbox of one session's stage threads: call `start` first and `close` last.

    Each stage's thread calls `stage`. A lock keeps their self-tests apart, so that each arrival at the listener can
    be attributed to one stage.
    """

    def __init__(self) -> None:
        machine = _linux.machine()
        self._filter = Filter(machine) if machine else None
        self._hook = AuditHook(deny=True, every_thread=False)
        self._listener = Listener()
        # A filtered thread cannot accept connections, so a thread that is older than every filter does it.
        self._listening = ThreadPoolExecutor(1, thread_name_prefix="sandbox-listen")
        self._lock = threading.Lock()
        self._controls: list[PositiveControl] = []
        self._faults: list[str] = []
        self._start, self._end = _Moment(), _Moment()
        self._loaded = False

    def __enter__(self) -> ThreadSandbox:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Install the audit hook and start the listening thread, from a thread without a filter."""
        self._hook.install()
        self._count_arrivals()

    def close(self) -> None:
        """Release the listener."""
        self._listening.shutdown()
        self._listener.close()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Sandbox the calling thread for its lifetime, and attribute attempts inside the block to ``name``."""
        with self._lock:
            process.name_thread(name)
            self._run_control()
            if self._filter is not None:
                try:
                    seccomp.load(self._filter, all_threads=False)
                    self._loaded = True
                except OSError as error:
                    self._faults.append(f"seccomp: {name}: {error}")
            self._read(self._start)
        self._hook.register(name)
        try:
            yield
        finally:
            self._hook.unregister()
            with self._lock:
                self._read(self._end)

    def denied(self) -> tuple[Denied, ...]:
        """Return the attempts so far."""
        return self._hook.counts()

    def evidence(self) -> IsolationEvidence:
        """Return what was read back of the stages so far, and the level that follows from it."""
        missed = [control.detail or "nothing was heard" for control in self._controls if not control.network]
        undecided = IsolationEvidence(
            requested="thread",
            enforced=Enforced.NONE,
            why=(),
            machine=self._filter.machine if self._filter else None,
            filter_sha256=self._filter.sha256 if self._filter and self._loaded else None,
            kernel_counts=False,
            control=PositiveControl(network=bool(self._controls) and not missed, file=False, detail="; ".join(missed)),
            landlock=LandlockStatus(abi=0, error="not applied to threads: the process needs its files"),
            start=self._start.reading,
            end=self._end.reading,
            selftest_start=self._start.selftest if self._start.threads else None,
            selftest_end=self._end.selftest if self._end.threads else None,
            ending="closed" if len(self._end.threads) == len(self._start.threads) else "running",
            denied=self._hook.counts(),
            faults=tuple(self._faults),
        )
        enforced, why = decide_level(undecided, hook_alive=self._hook.is_alive())
        return msgspec.structs.replace(undecided, enforced=enforced, why=why)

    def _run_control(self) -> None:
        before = self._count_arrivals()
        control = selftest.run_control(self._listener.address, None)
        arrived = self._count_arrivals() - before
        self._controls.append(
            PositiveControl(control.network and arrived == _ARRIVALS_IN_CONTROL, file=False, detail=control.detail)
        )

    def _count_arrivals(self) -> int:
        return self._listening.submit(self._listener.count_arrivals).result()

    def _read(self, moment: _Moment) -> None:
        """Add the calling thread's status and self-test to the readings at the start or the end."""
        before = self._count_arrivals()
        with self._hook.exempt():
            attempts = selftest.try_calls(self._filter, self._listener.address) if self._loaded and self._filter else ()
        heard = self._count_arrivals() - before
        with contextlib.suppress(OSError):
            moment.threads.extend(read_threads(os.getpid(), only=(threading.get_native_id(),)))
        moment.selftest = SelfTest((*moment.selftest.attempts, *attempts), moment.selftest.heard + heard)


class _Moment:
    """Readings of all stages at the start, or at the end."""

    def __init__(self) -> None:
        self.threads: list[ThreadStatus] = []
        self.selftest = SelfTest(())

    @property
    def reading(self) -> Reading | None:
        if not self.threads:
            return None
        return Reading(tuple(self.threads), sockets=None, descriptors=None, own_network=None)
