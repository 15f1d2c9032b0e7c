"""Marks of the tests that take long, and the distribution of all tests to workers.

A test is slow if its code, or a fixture that it uses, reaches one of `SLOW_CALLS`: something that starts a process,
a session or a Dagster instance, or that waits. `SLOW_MODULES` adds those that compute for long, or run jobs and
commands. ``pytest -m "not slow"`` and `make test-fast` leave these tests out.

With pytest-xdist and ``--dist loadscope`` a worker runs all tests of a module, so that each expensive fixture is made
once; `worker_scope` joins modules that share fixtures, and splits modules of independent slow tests.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

PACKAGE = __package__ or ""
SLOW_CALLS = frozenset(
    {
        "subprocess.Popen",
        "subprocess.run",
        "posix.fork",
        "time.sleep",
        "dagster._core.instance_for_test.instance_for_test",
        "hybrid_platform.sandbox.spawn.spawn",
        f"{PACKAGE}.support.run_in_process",
        f"{PACKAGE}.support.wait_until",
    }
)
SLOW_MODULES = (
    "analysis.test_matrix",
    "defs.",
    "e2e.",
    "faults.",
    "observability.test_metrics",
    "property.",
    "report.measures.test_session",
    "report.test_figures",
    "reproduce.",
    "security.test_redaction",
    "storage.test_archive",
    "strategies.test_builtin",
)
"""Modules and packages below this one whose tests take seconds without any of these calls."""


JOINED_MODULES = (
    (
        "e2e/test_dagster_job.py",
        "e2e/test_database_contract.py",
        "e2e/test_evidence_contract.py",
        "e2e/test_log_contract.py",
        "e2e/test_replay_answers.py",
    ),
    ("e2e/test_code_server.py", "faults/test_kill.py"),
    ("report/test_",),
)
"""Modules that share expensive fixtures: the runs of e2e/conftest.py, `dagster dev`, a session for the reports."""
SPLIT_MODULES = (
    "defs/session/test_failed_start.py",
    "e2e/test_drain.py",
    "faults/test_bad_strategies.py",
    "faults/test_disk_full.py",
    "faults/test_full_channels.py",
    "faults/test_host_faults.py",
    "faults/test_locked.py",
    "faults/test_second_session.py",
    "live/test_session.py",
    "property/",
    "reproduce/test_reproduce.py",
    "session/overload/test_watchdog.py",
    "session/strategy_host/test_isolation.py",
)
"""Modules whose tests take seconds each and share no expensive fixture."""


def mark_slow(items: list[pytest.Item]) -> None:
    """Mark each slow test."""
    for item in items:
        if isinstance(item, pytest.Function) and is_slow(item):
            item.add_marker(pytest.mark.slow)


def is_slow(item: pytest.Function) -> bool:
    """Return whether a test or one of its fixtures is slow."""
    if item.module.__name__.removeprefix(f"{PACKAGE}.").startswith(SLOW_MODULES):
        return True
    fixtures = [each.func for name in item.fixturenames for each in item._fixtureinfo.name2fixturedefs.get(name, ())]
    return any(reaches_slow_call(each) for each in (item.function, *fixtures))


def worker_scope(node_id: str) -> str:
    """Return the scope of a test: all tests of one scope run on the same worker."""
    module = node_id.partition("::")[0]
    path = module.removeprefix(f"{PACKAGE}/")
    for joined in JOINED_MODULES:
        if path.startswith(joined):
            return joined[0]
    return node_id if path.startswith(SPLIT_MODULES) else module


@cache
def reaches_slow_call(subject: Any) -> bool:
    """Return whether a function or class of the tests reaches a slow call, directly or through its helpers."""
    seen, waiting = set(), [subject]
    while waiting:
        current = inspect.unwrap(waiting.pop())
        if isinstance(current, type):
            waiting += [each for each in vars(current).values() if isinstance(each, FunctionType)]
        elif isinstance(current, FunctionType) and current not in seen:
            seen.add(current)
            for used in _used(current):
                if f"{used.__module__}.{used.__qualname__}" in SLOW_CALLS:
                    return True
                if used.__module__.startswith(PACKAGE):
                    waiting.append(used)
    return False


def _used(function: FunctionType) -> Iterator[Any]:
    """Yield the functions and classes that a function's code names, directly or as an attribute of a module."""
    names = set(_names(function.__code__))
    for name in names & function.__globals__.keys():
        found = function.__globals__[name]
        candidates = [vars(found).get(each) for each in names] if isinstance(found, ModuleType) else [found]
        yield from (each for each in candidates if hasattr(each, "__qualname__") and each.__module__)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
