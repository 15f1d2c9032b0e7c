"""The weaker isolation, where strategy and execution are threads of the op's own process (I1).

in: a stage's thread, before user code runs in it · out: a filter over that thread and those it starts,
Python's audit hook, and `IsolationEvidence` that says no more than this. It stops honest mistakes; code
that shares the heap can make another thread do the call, and files are not confined.
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
    Control,
    Denied,
    Enforced,
    IsolationEvidence,
    LandlockStatus,
    Reading,
    SelfTest,
    ThreadStatus,
)  # fmt: skip
from hybrid_platform.sandbox import _linux, process, seccomp, selftest
from hybrid_platform.sandbox.audit import AuditHook
from hybrid_platform.sandbox.bpf import Filter
from hybrid_platform.sandbox.levels import decide
from hybrid_platform.sandbox.listener import Listener
from hybrid_platform.sandbox.status import threads_of

_HEARD_IN_CONTROL = 2


class ThreadGuards:
    """Guards the stages of one session; make one a session, close it at the end.

    `stage` is called by each stage's thread; one lock makes their self-tests follow one another, so that
    what the listener hears is known to be whose.
    """

    def __init__(self) -> None:
        machine = _linux.machine()
        self._filter = Filter(machine) if machine else None
        self._hook = AuditHook(deny=True, every_thread=False)
        self._hook.install()
        self._listener = Listener()
        # A guarded thread cannot ask the listener: this one, which is older than every guard, does.
        self._ear = ThreadPoolExecutor(1, thread_name_prefix="guard-ear")
        self._ear.submit(self._listener.heard).result()
        self._lock = threading.Lock()
        self._controls: list[Control] = []
        self._faults: list[str] = []
        self._start, self._end = _Moment(), _Moment()
        self._loaded = False

    def __enter__(self) -> ThreadGuards:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release the listener."""
        self._ear.shutdown()
        self._listener.close()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Guard the calling thread for good, and attribute to ``name`` what it tries inside the block."""
        with self._lock:
            process.name_thread(name)
            self._control()
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
            control=Control(network=bool(self._controls) and not missed, file=False, detail="; ".join(missed)),
            landlock=LandlockStatus(abi=0, error="not applied to threads: the process needs its files"),
            start=self._start.reading,
            end=self._end.reading,
            selftest_start=self._start.selftest if self._start.threads else None,
            selftest_end=self._end.selftest if self._end.threads else None,
            ending="closed" if len(self._end.threads) == len(self._start.threads) else "running",
            denied=self._hook.counts(),
            faults=tuple(self._faults),
        )
        enforced, why = decide(undecided, hook_alive=self._hook.is_alive())
        return msgspec.structs.replace(undecided, enforced=enforced, why=why)

    def _control(self) -> None:
        before = self._heard()
        said = selftest.control(self._listener.address, None)
        heard = self._heard() - before
        self._controls.append(Control(said.network and heard == _HEARD_IN_CONTROL, file=False, detail=said.detail))

    def _heard(self) -> int:
        return self._ear.submit(self._listener.heard).result()

    def _read(self, moment: _Moment) -> None:
        """Add the calling thread's status and self-test to the start or the end."""
        before = self._heard()
        with self._hook.exempt():
            attempts = selftest.try_calls(self._filter, self._listener.address) if self._loaded and self._filter else ()
        heard = self._heard() - before
        with contextlib.suppress(OSError):
            moment.threads.extend(threads_of(os.getpid(), only=(threading.get_native_id(),)))
        moment.selftest = SelfTest((*moment.selftest.attempts, *attempts), moment.selftest.heard + heard)


class _Moment:
    """What the stages read back at the start, or at the end."""

    def __init__(self) -> None:
        self.threads: list[ThreadStatus] = []
        self.selftest = SelfTest(())

    @property
    def reading(self) -> Reading | None:
        if not self.threads:
            return None
        return Reading(tuple(self.threads), sockets=None, descriptors=None, own_network=None)
