"""Private functions of Dagster that the platform uses: they exist, and they do what the platform relies on."""

from __future__ import annotations

import ast
import os
import signal
from pathlib import Path

import dagster as dg

import hybrid_platform
from hybrid_platform.defs.shared.dagster_internals import (
    capture_interrupts,
    event_log_file,
    pop_captured_interrupt,
)


def test_private_modules_of_dagster_are_imported_in_one_place():
    importing = set()
    package = Path(hybrid_platform.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [module or ""]
            if any(name.startswith("dagster") and "._" in name for name in names):
                importing.add(str(path.relative_to(package)))
    assert importing == {"defs/shared/dagster_internals.py"}


def test_a_captured_interrupt_is_reported_once_and_not_raised():
    with capture_interrupts():
        assert not pop_captured_interrupt()
        os.kill(os.getpid(), signal.SIGINT)
        assert pop_captured_interrupt()
        assert not pop_captured_interrupt()


def test_a_sqlite_instance_keeps_the_events_of_a_run_in_one_file():
    @dg.job
    def empty() -> None:
        pass

    with dg.instance_for_test() as instance:
        run_id = empty.execute_in_process(instance=instance).run_id
        path = event_log_file(instance, run_id)
        assert path is not None and path.is_file()


def test_an_instance_in_memory_keeps_no_file_per_run():
    with dg.DagsterInstance.ephemeral() as instance:
        assert event_log_file(instance, "run") is None
