"""Imitation of a host with fewer facilities, made with a filter; prints the evidence of a child sandboxed there.

Arguments: names of calls that this host lacks, or ``riscv64`` for an unknown instruction set.
"""

from __future__ import annotations

import errno
import os
import platform
import sys

import msgspec

from hybrid_platform.domain.isolation import Kind
from hybrid_platform.sandbox import _linux, seccomp
from hybrid_platform.sandbox.bpf import Filter
from hybrid_platform.sandbox.syscalls import RULES, Rule
from hybrid_platform_tests.sandbox.conftest import spawn_action

LANDLOCK = Rule("landlock", Kind.SANDBOX, 444, 444, "a kernel without Landlock", errno=errno.ENOSYS)


def main(missing: list[str]) -> None:
    environment = {}
    if "riscv64" in missing:
        platform.machine = lambda: "riscv64"
        environment["PRETEND"] = "riscv64"
    else:
        known = {rule.name: rule for rule in (*RULES, LANDLOCK)}
        seccomp.load(Filter(_linux.machine(), tuple(known[name] for name in missing)), all_threads=True)
    with spawn_action("careless", environment=environment) as running:
        running.close_out(60)
        evidence = running.evidence()
    os.write(1, msgspec.json.encode(evidence))


if __name__ == "__main__":
    main(sys.argv[1:])
