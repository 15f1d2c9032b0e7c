"""The guarded side of `spawn`: puts the guard on before any user code is imported, and tests it again after.

in: the plan, over the guard's own pipe · out: a `Guard` with the caller's pipes. A child's main module
calls `enter` first, names its threads with `Guard.stage`, and calls `Guard.leave` last. I1.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable

from hybrid_platform.domain.isolation import Attempt, LandlockStatus
from hybrid_platform.sandbox import _linux, landlock, process, seccomp, selftest
from hybrid_platform.sandbox.audit import AuditHook
from hybrid_platform.sandbox.bpf import Filter
from hybrid_platform.sandbox.descriptors import close_all_but
from hybrid_platform.sandbox.protocol import Leaving, Line, Plan, Proceed, Sealed, Tested

ANSWER_TIMEOUT_S = 60.0
LEAVE_TIMEOUT_S = 600.0
"""How long a child that is done waits for a parent that is busy; one that is gone is noticed at once."""


def enter() -> Guard:
    """Guard this process, which `spawn` started, and return when the parent has read it back.

    Call it while there is one thread and nothing of the user's is imported. Raises IsolationError where
    the parent is gone or does not agree. A host without seccomp or Landlock is reported, not refused:
    whether that is enough is the parent's to say.
    """
    line = Line(int(sys.argv[1]), int(sys.argv[2]))
    return Guard(line, line.receive(Plan, ANSWER_TIMEOUT_S))


class Guard:
    """What a guarded process knows of its guard; made by `enter`."""

    def __init__(self, line: Line, plan: Plan) -> None:
        self._line, self._plan = line, plan
        self.pipes = plan.pipes
        """The caller's pipes by name."""
        self.arguments = plan.arguments
        """The caller's own word to its main module."""
        self._landlock = LandlockStatus(abi=0)
        self._filter: Filter | None = None
        self._seal()

    def stage(self, name: str) -> None:
        """Name the calling thread: attempts are attributed to ``name`` from now on."""
        process.name_thread(name)
        self._hook.register(name)

    def leave(self) -> None:
        """Test the guard once more and wait until the parent has read it back; call it last.

        Raises IsolationError where the parent is gone.
        """
        self._line.send(Leaving(self._hook.counts()))
        self._line.receive(Proceed, LEAVE_TIMEOUT_S)
        self._line.send(self._test())
        self._line.receive(Proceed, LEAVE_TIMEOUT_S)

    def _seal(self) -> None:
        plan = self._plan
        close_all_but({*self._line.descriptors, *plan.pipes.values()})
        control = selftest.control(plan.listener, plan.canary)
        faults: list[str] = []
        listener = None
        if _linux.machine() is not None:
            if plan.own_network:
                _tried(faults, "network namespace", process.leave_network)
            _tried(faults, "capabilities", process.drop_capabilities)
            # After the changes of credentials, which would reset it.
            process.die_with(plan.parent)
            listener = self._confine(faults)
        self._hook = AuditHook(deny=self._filter is None, every_thread=True)
        self._hook.install()
        _print_errors_in_python()
        digest = self._filter.sha256 if self._filter else None
        self._line.send(Sealed(control, self._landlock, digest, listener, tuple(faults)))
        self._line.receive(Proceed, ANSWER_TIMEOUT_S)
        if listener is not None:
            # Only the parent may answer; with our copy open, a dead parent's calls would hang, not fail.
            os.close(listener)
        self._line.send(self._test())
        self._line.receive(Proceed, ANSWER_TIMEOUT_S)

    def _confine(self, faults: list[str]) -> int | None:
        """Put Landlock and the filter on; return the listener's descriptor where the filter notifies."""
        try:
            _linux.prctl(_linux.PR_SET_NO_NEW_PRIVS, 1)
            self._landlock = landlock.restrict(self._plan.grants)
        except OSError as error:
            self._landlock = LandlockStatus(abi=landlock.abi(), error=str(error))
        filter_ = Filter(_linux.machine() or "", notify=self._plan.notify)
        try:
            listener = seccomp.load(filter_, all_threads=True)
        except OSError as error:
            faults.append(f"seccomp: {error}")
            return None
        self._filter = filter_
        return listener

    def _test(self) -> Tested:
        """Try everything in a thread that was started under the guard, and files in this older one too."""
        attempts: list[Attempt] = []

        def try_all() -> None:
            with self._hook.exempt():
                if self._filter is not None:
                    attempts.extend(selftest.try_calls(self._filter, self._plan.listener))
                self._try_files(attempts)

        thread = threading.Thread(target=try_all, name="guard-selftest")
        thread.start()
        thread.join()
        with self._hook.exempt():
            self._try_files(attempts)
        return Tested(tuple(attempts), self._hook.is_alive())

    def _try_files(self, attempts: list[Attempt]) -> None:
        if self._landlock.handled_fs:
            attempts.extend(selftest.try_files(self._plan.canary))
        if self._landlock.scoped:
            attempts.append(selftest.try_signal(self._plan.parent))


def _print_errors_in_python() -> None:
    """Show uncaught errors without the interpreter's own printer, which duplicates a descriptor to read the source.

    It would be denied, and an honest strategy's stray exception would count as an attempt.
    """
    sys.excepthook = traceback.print_exception
    threading.excepthook = lambda args: traceback.print_exception(args.exc_value)
    sys.unraisablehook = lambda args: traceback.print_exception(args.exc_value)


def _tried(faults: list[str], what: str, action: Callable[[], None]) -> None:
    try:
        action()
    except OSError as error:
        faults.append(f"{what}: {error}")
