"""Helpers of the sandbox's tests.

* ``needs_seccomp``, ``needs_landlock``, ``needs_linux``: marks that skip a test on hosts without that facility.
* ``spawn_action``: starts a sandboxed child that runs one function of ``child_actions``.
* ``in_fork``: runs a function in a fork, where filters and hooks that cannot be removed may stay.
* ``child_actions``: main module of these children; each function behaves like one kind of strategy.
* ``dishonest_child``: main module of a child that applies no sandbox and claims to have one.
* ``limited_host``: imitates a host with fewer facilities and prints the evidence of a child there.
* ``rule_prober``: reports which probes pass a filter without one of its rules.
* ``bpf_interpreter``: runs a filter's program like the kernel, as a second implementation.
* ``attacks``: hostile strategies, the runner that judges them, and the table in docs/isolation.md.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

import hybrid_platform_tests
from hybrid_platform.sandbox import _linux, landlock, seccomp
from hybrid_platform.sandbox.sandboxed_process import SandboxedProcess
from hybrid_platform.sandbox.spawn import SpawnOptions, spawn

needs_seccomp = pytest.mark.skipif(not seccomp.is_available(), reason="this host has no seccomp")
needs_landlock = pytest.mark.skipif(landlock.read_abi() == 0, reason="this kernel has no Landlock")
needs_linux = pytest.mark.skipif(_linux.machine() is None, reason="Linux on x86-64 or arm64 only")


def spawn_action(action: str, **options: Any) -> SandboxedProcess:
    """Start a sandboxed child that runs ``action`` of `child_actions`, with a pipe ``up`` to the parent."""
    tests = Path(hybrid_platform_tests.__file__).parent
    fixed = SpawnOptions(code=[tests], pipes_from_child=("up",), arguments=action)
    return spawn(f"{__package__}.child_actions", replace(fixed, **options))


def in_fork(action: Callable[[], object]) -> Any:
    """Run ``action`` in a fork of this process and return its result after a round trip through JSON.

    Filters, Landlock and audit hooks cannot be removed; they end with the fork. An error there is an error here.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(read)
            os.write(write, msgspec.json.encode(action()))
            status = 0
        except BaseException:
            os.write(write, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        output = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, output.decode()
    return msgspec.json.decode(output)
