"""Marks of the tests that take long, and the groups in which workers run the tests.

A test is slow if its code, or a fixture that it uses, reaches one of `SLOW_CALLS`: something that starts a process,
a session or a Dagster instance, or that waits. `SLOW_MODULES` adds those that compute for long, or run jobs and
commands. ``pytest -m "not slow"`` and `make test-fast` leave these tests out.

With ``--dist loadgroup`` a worker runs all tests that share an expensive fixture, so that it is made once; every
other slow test may run anywhere, and the fast tests of a module stay together.
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


def mark_and_group(items: list[pytest.Item]) -> None:
    """Mark each slow test, and put each test into the group of its worker."""
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        fixtures = [each for name in item.fixturenames for each in item._fixtureinfo.name2fixturedefs.get(name, ())]
        slow_fixtures = [each for each in fixtures if reaches_slow_call(each.func)]
        module = item.module.__name__.removeprefix(f"{PACKAGE}.")
        if slow_fixtures or module.startswith(SLOW_MODULES) or reaches_slow_call(item.function):
            item.add_marker(pytest.mark.slow)
            shared = [each for each in slow_fixtures if each.scope != "function"]
            if shared:
                item.add_marker(pytest.mark.xdist_group(_group(shared)))
        else:
            item.add_marker(pytest.mark.xdist_group(module))


def _group(shared: list[pytest.FixtureDef[Any]]) -> str:
    """Return the group of a test: the shared fixture of the widest scope, all of one package together."""
    widest = min(shared, key=lambda each: len(each.baseid))
    return widest.argname if widest.baseid in {"", PACKAGE} else widest.baseid.replace("/", ".")


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
